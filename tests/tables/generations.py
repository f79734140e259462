"""Generations of predictions made up for tests, written as the batch mode writes them."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from mlops_kit.tables.generation import Generation, name_generation

START = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def make_frame(rows: int, offset: float = 0.0) -> pl.DataFrame:
    """One column of every type that tables must take; `id` is a key, and so are `origin` and `day` together."""
    ids = range(rows)
    return pl.DataFrame(
        {
            "id": pl.Series(ids, dtype=pl.Int64),
            "origin": [f"{'JFK' if i % 2 else 'LGA'} {i // 2}:%'\"\\ é" for i in ids],
            "day": [date(2026, 11, 1) + timedelta(days=i % 7) for i in ids],
            "at": pl.Series([START + timedelta(seconds=i) for i in ids], dtype=pl.Datetime("us", "UTC")),
            "is_late": [None if i % 5 == 0 else i % 3 == 0 for i in ids],
            "note": [None if i % 4 == 0 else f"note {i}" for i in ids],
            "small": pl.Series([i % 100 for i in ids], dtype=pl.Int8),
            "single": pl.Series([i / 3 + offset for i in ids], dtype=pl.Float32),
            "prediction": [float("nan") if i % 11 == 10 else i / 7 + offset for i in ids],
        }
    )


def write_generation(
    folder: Path,
    frame: pl.DataFrame,
    key: tuple[str, ...] = ("id",),
    digest: str = "sha256:" + "a" * 64,
    parts: int = 3,
) -> Generation:
    """Write the frame as the parts of a new generation below `folder`."""
    name = name_generation()
    directory = folder / name
    directory.mkdir(parents=True)
    size = -(-len(frame) // parts)
    paths = []
    for index in range(parts):
        path = directory / f"rows-{index * size:012d}.parquet"
        pq.write_table(frame[index * size : (index + 1) * size].to_arrow(), path)
        paths.append(path)
    schema = pq.read_schema(paths[0])
    return Generation(name, digest, "2026-11-21T08:30:00Z", key, len(frame), schema, tuple(paths))
