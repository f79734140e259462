"""Looking up predictions that `mlkit batch-predict` has stored, as an application does it: in its own process."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from mlops_kit.bench.answers import read_records
from mlops_kit.bench.interface import MULTI_STREAM, OFFLINE, SERVER, SINGLE_STREAM, Scored, StageSums, Subject
from mlops_kit.bench.load.interface import Asker
from mlops_kit.bench.publishing import Publishing
from mlops_kit.errors import StoreError
from mlops_kit.schema import Columns
from mlops_kit.tables.interface import Table
from mlops_kit.tables.resolve import lookup

Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LookupTarget:
    """A request is several keys, which are looked up one after the other."""

    output: str
    requests: Sequence[Sequence[Key]]
    password: str = field(default="", repr=False)
    most_connections: int = 1

    async def connect(self, asker: Asker) -> "LookupConnection":
        """A table of its own."""
        return LookupConnection(asker, lookup(self.output, self.password))


class LookupConnection:
    """Waits for each answer, as callers of a table do."""

    def __init__(self, asker: Asker, table: Table) -> None:
        self._asker, self._table = asker, table
        self._loop = asyncio.get_running_loop()

    def send(self, request: Sequence[Key]) -> None:
        """Look all of them up."""
        try:
            found = [self._table.get(key) for key in request]
        except StoreError as error:
            problem = error.what
        else:
            problem = "" if all(found) else "no row has this key"
        self._loop.call_soon(self._asker.answered, self, problem)

    def close(self) -> None:
        """Let go of the table."""
        self._table.close()


class Lookups:
    """A table with the rows that are asked for, and enough others.

    `measure_bytes` tells how many bytes the output takes.
    """

    scenarios = (SINGLE_STREAM, MULTI_STREAM, SERVER, OFFLINE)

    def __init__(self, subject: Subject, output: str, measure_bytes: Callable[[], float]) -> None:
        self._subject, self._output = subject, output
        self._publishing = Publishing(subject, output)
        self._measure_bytes = measure_bytes
        self._bytes_per_row = 0.0

    def await_ready(self) -> None:
        """It always is."""

    def answers(self) -> Columns:
        """One look-up for each row, after they have been stored."""
        empty = self._measure_bytes()
        first = self._publishing.publish_first()
        self._bytes_per_row = (self._measure_bytes() - empty) / first.rows
        table = lookup(self._output, self._subject.password)
        try:
            found = [table.get((str(number),)) for number in range(len(self._subject.asked))]
        finally:
            table.close()
        records: list[Any] = [row.values for row in found if row]
        if len(records) < len(found):
            raise StoreError(f"{self._output} lacks rows that were published there")
        return read_records(records, self._subject.signature.outputs)

    def target(self, rows: int) -> LookupTarget:
        """Keys in random order."""
        numbers = random.Random(0).sample(range(len(self._subject.asked)), len(self._subject.asked))  # noqa: S311
        keys = [(str(number),) for number in numbers]
        requests = [tuple(keys[first : first + rows]) for first in range(0, len(keys), rows)]
        return LookupTarget(self._output, requests, self._subject.password)

    def stage_sums(self) -> StageSums:
        """None: what a store does is not told apart."""
        return StageSums(0, {})

    def peak_memory(self) -> int | None:
        """It has no process of its own."""
        return None

    def score(self, seconds: float) -> Scored:
        """Predict, and store."""
        return replace(self._publishing.score(seconds), stored_bytes_per_row=self._bytes_per_row)
