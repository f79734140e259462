"""A table in an SQLite file.

Rows are loaded in short transactions, so that others can read and write the file meanwhile. A new file gets a
write-ahead log, with which readers never wait; a file that was there keeps the journal that its owner chose.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_kit.errors import InputError
from mlops_kit.tables.address import Address
from mlops_kit.tables.generation import Generation
from mlops_kit.tables.interface import Published, StoredPrediction
from mlops_kit.tables.sql.catalog import (
    Catalog,
    check_table_name,
    checked_entry,
    foreign_registry,
    nothing_published,
    row_query,
)
from mlops_kit.tables.sql.columns import (
    decoded,
    key_arrays,
    quoted,
    refuse_equal_names,
    storage_schema,
    store_batch,
    value_of,
)
from mlops_kit.tables.sql.file import DatabaseFile
from mlops_kit.tables.sqlite_values import restored_values, sql_type, stored_rows
from mlops_kit.tables.values import json_value

ROWS_PER_TRANSACTION = 65_536
BUSY_TIMEOUT_S = 30.0
CACHE_KIB = 65_536
FIXES = {
    "SQLITE_BUSY": "wait until no other program writes to it, and run again",
    "SQLITE_FULL": "make room on the disk, and run again",
    "SQLITE_IOERR": "make room on the disk, or mend it, and run again",
    "SQLITE_NOTADB": "choose another file",
}


def open_table(address: Address, _password: str = "") -> "SqliteTable":
    """The table in this file, which need not be there yet."""
    check_table_name(address.table, "SQLite", reserved=("mlkit_", "sqlite_"), excluded=".")
    return SqliteTable(DatabaseFile(address, "SQLite"), address.table)


class SqliteTable:
    """A table of generations in a file."""

    def __init__(self, file: DatabaseFile, table: str) -> None:
        self._file = file
        self._table = table
        self._connection: sqlite3.Connection | None = None

    def current(self) -> Published | None:
        """The generation that the registry names."""
        if not self._file.is_there():
            return None
        with self._transaction("DEFERRED") as session:
            entry = Catalog(session, self._table).current()
        return entry.published if entry else None

    def publish(self, generation: Generation, keep: int, on_rows: Callable[[int], None]) -> None:
        """Wait for other publishers to the file, load, and switch."""
        storage = storage_schema(generation.schema)
        refuse_equal_names(generation.schema, "SQLite")
        with self._file.publisher():
            with self._transaction() as session:
                catalog = Catalog(session, self._table)
                catalog.create()
                catalog.refuse_foreign()
                known = {entry.published.name for entry in catalog.published()}
            self._drop_unpublished()
            if generation.name not in known:
                self._load(generation, storage, on_rows)
            with self._transaction() as session:
                Catalog(session, self._table).switch(generation.name, keep)
            self._drop_unpublished()

    def rollback(self) -> Published:
        """Show the generation before, and drop the current one."""
        if not self._file.is_there():
            raise nothing_published(self._table)
        with self._file.publisher():
            with self._transaction() as session:
                published = Catalog(session, self._table).roll_back()
            self._drop_unpublished()
        return published

    def get(self, key: Sequence[str]) -> StoredPrediction | None:
        """Reads registry and row in one transaction."""
        if not self._file.is_there():
            raise nothing_published(self._table)
        with self._transaction("DEFERRED") as session:
            catalog = Catalog(session, self._table)
            entry = checked_entry(catalog.published(), self._table, key)
            arrays = key_arrays(storage_schema(entry.schema), entry.key, key)
            if arrays is None:
                return None
            relation = quoted(catalog.relation(entry.published.name))
            values = [json_value(value_of(array)) for array in arrays]
            rows = session.query(row_query(relation, entry.key), values)
        return entry.prediction(restored_values(decoded(entry.schema), rows[0])) if rows else None

    def close(self) -> None:
        """Close the file."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _load(self, generation: Generation, storage: pa.Schema, on_rows: Callable[[int], None]) -> None:
        with self._transaction() as session:
            catalog = Catalog(session, self._table)
            catalog.record(generation)
            relation = catalog.relation(generation.name)
            columns = ", ".join(f"{quoted(field.name)} {sql_type(field.type)}" for field in storage)
            session.query(f"CREATE TABLE {quoted(relation)} ({columns})")
        for batch in generation.batches(ROWS_PER_TRANSACTION):
            rows = stored_rows(store_batch(batch, storage))
            with self._transaction() as session:
                session.insert(relation, len(storage), rows)
            on_rows(batch.num_rows)
        if generation.key:
            columns = ", ".join(map(quoted, generation.key))
            with self._transaction() as session:
                session.query(
                    f"CREATE UNIQUE INDEX {quoted(f'{relation}__key')} ON {quoted(relation)} ({columns})"
                )

    def _drop_unpublished(self) -> None:
        with self._transaction() as session:
            names = Catalog(session, self._table).unpublished()
        for name in names:
            with self._transaction() as session:
                catalog = Catalog(session, self._table)
                session.query(f"DROP TABLE IF EXISTS {quoted(catalog.relation(name))}")
                catalog.forget(name)

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator["_Session"]:
        try:
            connection = self._connection = self._connection or _connect(self._file.path)
            connection.execute(f"BEGIN {kind}")
            try:
                yield _Session(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise
            if _is_at_rest(self._file.path):
                self.close()  # the next generation would not be seen
        except sqlite3.IntegrityError as error:
            raise InputError(f"table {self._table!r}: two rows have the same key, or one has none") from error
        except sqlite3.Error as error:
            if "no such column" in str(error):
                raise foreign_registry() from error
            name = getattr(error, "sqlite_errorname", "")
            raise self._file.failure(
                str(error), next((FIXES[fix] for fix in FIXES if name.startswith(fix)), "")
            ) from error


class _Session:
    """A transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        named = {str(number): value for number, value in enumerate(parameters, 1)}
        return self._connection.execute(sql, named).fetchall()

    def insert(self, relation: str, columns: int, rows: Iterator[tuple[Any, ...]]) -> None:
        places = ", ".join("?" * columns)
        self._connection.executemany(f"INSERT INTO {quoted(relation)} VALUES ({places})", rows)

    def kind_of(self, name: str) -> str | None:
        found = self.query("SELECT type FROM sqlite_master WHERE name = $1 COLLATE NOCASE", (name,))
        return str(found[0][0]) if found else None

    def qualified(self, name: str) -> str:
        return quoted(name)

    def point_view(self, view: str, relation: str) -> None:
        self.query(f"DROP VIEW IF EXISTS {quoted(view)}")
        self.query(f"CREATE VIEW {quoted(view)} AS SELECT * FROM {quoted(relation)}")


def _connect(path: Path) -> sqlite3.Connection:
    is_new = not path.exists() or path.stat().st_size == 0
    name = f"{path.absolute().as_uri()}{'?immutable=1' if _is_at_rest(path) else ''}"
    connection = sqlite3.connect(name, timeout=BUSY_TIMEOUT_S, isolation_level=None, uri=True)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    if is_new:
        connection.execute("PRAGMA journal_mode = WAL")
    return connection


def _is_at_rest(path: Path) -> bool:
    """Whether nobody writes to the file, and this user cannot: then SQLite must be told that it needs no lock, for
    which it would have to write beside the file.
    """
    return (
        path.exists()
        and not os.access(path.parent, os.W_OK, effective_ids=True)
        and not Path(f"{path}-wal").exists()
    )
