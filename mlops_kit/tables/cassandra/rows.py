"""The rows of generations: written, found and deleted by their keys.

A list of the keys of each chunk of rows is written before the rows themselves, so that a generation, half-loaded
or whole, can be deleted without a scan over the table.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any

import pyarrow as pa
from cassandra.cluster import ResponseFuture, ResultSet, Session
from cassandra.query import BatchStatement, BatchType, BoundStatement

from mlops_kit.errors import InputError, listed
from mlops_kit.tables.cassandra.columns import values_of
from mlops_kit.tables.cassandra.layout import Target
from mlops_kit.tables.cassandra.registry import Entry
from mlops_kit.tables.generation import key_text
from mlops_kit.tables.values import json_value

CHUNK_ROWS = 2048
BATCH_ROWS, BATCH_BYTES = 10, 5000
"""What Cassandra by default takes in one batch without a warning in its log."""
BATCHES_UNDER_WAY = 128
LONGEST_KEY = 65_000
"""Bytes; a partition key, which names the generation, too, has at most 65,535."""

CHUNK = "table_name = ? AND generation = ? AND chunk = ?"


class Rows:
    """The rows of one table. Every method may raise what the driver raises."""

    def __init__(self, session: Session, target: Target) -> None:
        self._session = session
        self._target = target
        self._prepare = cache(session.prepare)

    def write(self, entry: Entry, chunks: Iterable[pa.RecordBatch]) -> Iterator[int]:
        """Write chunks of rows, and yield how many rows each one has. Some are still on their way then; all of
        them are stored when the iteration ends. Repeating it gives the same.
        """
        stored = [column for column in entry.columns if column.cql_type]
        names = ", ".join(("generation", "key", *(column.quoted for column in stored)))
        marks = ", ".join("?" * (len(stored) + 2))
        insert = self._prepare(f"INSERT INTO {self._target.rows} ({names}) VALUES ({marks}) USING TIMESTAMP ?")
        sending = Sending(self._session)
        for chunk, batch in enumerate(chunks):
            values = values_of(batch, stored)
            by_name = dict(zip((column.name for column in stored), values, strict=True))
            keys = [key_text(key) for key in zip(*(by_name[name] for name in entry.key), strict=True)]
            self._write_keys(entry, chunk, keys)
            rows = zip(keys, zip(*values, strict=True), strict=True)
            sending.send(insert.bind((entry.name, key, *row, entry.stamp)) for key, row in rows)
            yield len(batch)
        sending.finish()

    def find(self, entry: Entry, key: str) -> Mapping[str, Any] | None:
        """The row of a generation, by column."""
        if len(key.encode()) > LONGEST_KEY:
            return None
        stored = [column for column in entry.columns if column.cql_type]
        names = ", ".join(column.quoted for column in stored)
        cql = f"SELECT {names} FROM {self._target.rows} WHERE generation = ? AND key = ?"
        found = self._run(cql, (entry.name, key)).one()
        if found is None:
            return None
        values = dict(zip((column.name for column in stored), map(json_value, found), strict=True))
        return {column.name: values.get(column.name) for column in entry.columns}

    def delete(self, entry: Entry) -> None:
        """Delete the rows of a retired generation. Called again after a crash, it goes on where it was."""
        delete = self._prepare(
            f"DELETE FROM {self._target.rows} USING TIMESTAMP ? WHERE generation = ? AND key = ?"
        )
        delete_keys = f"DELETE FROM {self._target.keys} USING TIMESTAMP ? WHERE {CHUNK}"
        # From the last chunk to the first, so that what is left is always the first ones.
        for chunk in reversed(range(self._count_chunks(entry))):
            sending = Sending(self._session)
            sending.send(
                delete.bind((entry.stamp, entry.name, key)) for key in self._select_keys(entry, chunk) or ()
            )
            sending.finish()
            self._run(delete_keys, (entry.stamp, self._target.table, entry.name, chunk))

    def _write_keys(self, entry: Entry, chunk: int, keys: Sequence[str]) -> None:
        if any(len(key.encode()) > LONGEST_KEY for key in keys):
            what = f"a key, which is made of {listed(entry.key)}, has more than {LONGEST_KEY:,} bytes"
            raise InputError(what, "Cassandra cannot store that", "choose other columns with --key")
        self._run(
            f"UPDATE {self._target.keys} USING TIMESTAMP ? SET keys = ? WHERE {CHUNK}",
            (entry.stamp, keys, self._target.table, entry.name, chunk),
        )

    def _count_chunks(self, entry: Entry) -> int:
        return next(chunk for chunk in count() if self._select_keys(entry, chunk) is None)

    def _select_keys(self, entry: Entry, chunk: int) -> list[str] | None:
        cql = f"SELECT keys FROM {self._target.keys} WHERE {CHUNK}"
        found = self._run(cql, (self._target.table, entry.name, chunk)).one()
        return found[0] if found else None

    def _run(self, cql: str, values: Sequence[object]) -> ResultSet:
        return self._session.execute(self._prepare(cql), values)


class Sending:
    """Statements on their way, in batches of which no more than BATCHES_UNDER_WAY are unanswered."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._unanswered: deque[ResponseFuture] = deque()

    def send(self, statements: Iterable[BoundStatement]) -> None:
        """A request for each statement would cost the driver four times as long."""
        for batch in _batches(statements):
            if len(self._unanswered) == BATCHES_UNDER_WAY:
                self._unanswered.popleft().result()
            self._unanswered.append(self._session.execute_async(batch))

    def finish(self) -> None:
        """Wait until all of them have been carried out."""
        while self._unanswered:
            self._unanswered.popleft().result()


def _batches(statements: Iterable[BoundStatement]) -> Iterator[BatchStatement]:
    batch, size = BatchStatement(BatchType.UNLOGGED), 0
    for statement in statements:
        length = sum(len(value) for value in statement.values if isinstance(value, bytes))
        if len(batch) == BATCH_ROWS or (len(batch) and size + length > BATCH_BYTES):
            yield batch
            batch, size = BatchStatement(BatchType.UNLOGGED), 0
        batch.add(statement)
        size += length
    if len(batch):
        yield batch
