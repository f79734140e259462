"""What the tests of the contract share: publications, and what is expected of them."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlops_kit.tables.generation import Generation, key_text
from mlops_kit.tables.interface import StoredPrediction, Table
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.tables.generations import make_frame, write_generation

ROWS = 24


def open_at(address: str) -> Table:
    return open_table(resolve_address(address))


def publish(table: Table, generation: Generation, keep: int = 2) -> int:
    """Publish, and return how many rows were told of."""
    counts: list[int] = []
    table.publish(generation, keep, counts.append)
    return sum(counts)


def digest_of(number: int) -> str:
    return "sha256:" + f"{number:x}" * 64


def generations(folder: Path, count: int, rows: int = ROWS) -> list[Generation]:
    """Generation i has digest_of(i), and predictions that are i thousands larger."""
    return [write_generation(folder, make_frame(rows, 1000 * i), digest=digest_of(i)) for i in range(count)]


def expected_values(row: dict[str, Any]) -> dict[str, Any]:
    def as_json(value: Any) -> Any:
        if isinstance(value, date | datetime):
            return value.isoformat()
        return None if value != value else value

    return {name: as_json(value) for name, value in row.items()}


def typed(values: Any) -> dict[str, Any]:
    """Values with their types, because 1 == True == 1.0; `single` as the float32 that it stands for."""
    single = {"single": float(np.float32(values["single"]))} if "single" in values else {}
    return {name: (type(value), value) for name, value in (dict(values) | single).items()}


def assert_serves(table: Table, generation: Generation, frame: pl.DataFrame) -> None:
    """The generation is the current one, and every row of the frame is found by its key, and equal."""
    current = table.current()
    assert current is not None
    assert (current.name, current.digest, current.rows) == (generation.name, generation.digest, len(frame))
    assert current.predicted_at == generation.predicted_at
    for row in frame.rows(named=True):
        found = table.get([key_text([row[name]]) for name in generation.key])
        assert found is not None
        assert typed(found.values) == typed(expected_values(row))
        assert (found.digest, found.predicted_at) == (generation.digest, generation.predicted_at)


def row_of(table: Table, key: Sequence[str]) -> StoredPrediction:
    found = table.get(key)
    assert found is not None
    return found
