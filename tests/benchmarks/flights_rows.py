"""Rows for the flights model, as many as wanted: real flights, varied, because trees run twice as fast on repeats."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from tests.benchmarks.flights_model import COLUMNS, read_flights

GROUP_ROWS = 122_880
VARIED = {"dep_delay": 15.0, "temp": 8.0, "wind_speed": 4.0, "distance": 150.0}
"""Column → the standard deviation of what is added to it."""


def flights(rows: int, seed: int = 0) -> Iterator[pl.DataFrame]:
    """Frames of at most a row group each, with the columns as float32 and an `id`."""
    random = np.random.default_rng(seed)
    real = read_flights().select(COLUMNS)
    for first in range(0, rows, GROUP_ROWS):
        count = min(GROUP_ROWS, rows - first)
        chosen = real[random.integers(0, len(real), count)]
        noise = [pl.col(name) + random.normal(0, width, count) for name, width in VARIED.items()]
        varied = chosen.with_columns(noise).cast(pl.Float32)
        yield varied.with_columns(id=pl.Series(np.arange(first, first + count)))


def write_flights(path: Path, rows: int) -> Path:
    """One Parquet file of them, with PyArrow's defaults, which are pandas', too."""
    frames = flights(rows)
    first = next(frames).to_arrow()
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for frame in frames:
            writer.write_table(frame.to_arrow())
    return path
