"""What tests of Redis tables share: small generations, and how they are published and read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from mlops_kit.tables.generation import Generation
from mlops_kit.tables.interface import Table
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.tables.generations import make_frame, write_generation

ROWS = 40


def open_at(address: str, password: str = "") -> Table:
    return open_table(resolve_address(address), password)


def publish(table: Table, generation: Generation, keep: int = 2) -> None:
    table.publish(generation, keep, lambda rows: None)


def make_generation(folder: Path, number: int = 0, rows: int = ROWS) -> Generation:
    """Its predictions are `number` thousands larger than those of 0."""
    return write_generation(folder, make_frame(rows, 1000.0 * number), parts=1)


def prediction(table: Table, key: str = "7") -> Any:
    found = table.get([key])
    return found and found.values["prediction"]


def rows_of(client: redis.Redis, generation: Generation) -> list[str]:
    return list(client.scan_iter(f"eta:{generation.name}:*", 1000))


def call_once(work: Callable[[], object]) -> Callable[[int], None]:
    """For `on_rows`: do the work when the first rows are loaded."""
    works = [work]
    return lambda rows: works and works.pop()() and None
