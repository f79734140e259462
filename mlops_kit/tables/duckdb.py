"""A table in a DuckDB file.

Only one process can write to such a file, and nobody else reads it meanwhile. So it is opened for each call and
closed again, and a generation is written from its Parquet files in one transaction. Readers wait for it.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import polars as pl

from mlops_kit.errors import InputError, MlkitError
from mlops_kit.tables.address import Address
from mlops_kit.tables.generation import Generation
from mlops_kit.tables.interface import Published, StoredPrediction
from mlops_kit.tables.sql.catalog import (
    REGISTRY,
    Catalog,
    check_table_name,
    checked_entry,
    foreign_registry,
    nothing_published,
    row_query,
)
from mlops_kit.tables.sql.columns import decoded, key_arrays, quoted, refuse_equal_names, storage_schema, value_of
from mlops_kit.tables.sql.file import DatabaseFile
from mlops_kit.tables.values import json_values

PATIENCE_S = 30.0
LONGEST_PAUSE_S = 0.02


def open_table(address: Address, _password: str = "") -> "DuckdbTable":
    """The table in this file, which need not be there yet."""
    check_table_name(address.table, "DuckDB", excluded=".")
    return DuckdbTable(DatabaseFile(address, "DuckDB"), address.table)


class DuckdbTable:
    """A table of generations in a file."""

    def __init__(self, file: DatabaseFile, table: str) -> None:
        self._file = file
        self._table = table

    def current(self) -> Published | None:
        """The generation that the registry names."""
        if not self._file.is_there():
            return None
        with self._transaction(read_only=True) as session:
            entry = Catalog(session, self._table).current()
        return entry.published if entry else None

    def publish(self, generation: Generation, keep: int, on_rows: Callable[[int], None]) -> None:
        """Everything in one transaction; `on_rows` is called once, when all rows are in it."""
        storage_schema(generation.schema)
        refuse_equal_names(generation.schema, "DuckDB")
        with self._file.publisher(), self._transaction() as session:
            catalog = Catalog(session, self._table)
            catalog.create()
            catalog.refuse_foreign()
            if generation.name not in {entry.published.name for entry in catalog.published()}:
                catalog.record(generation)
                session.load(generation, catalog.relation(generation.name))
                on_rows(generation.rows)
            catalog.switch(generation.name, keep)
            _drop_unpublished(session, catalog)

    def rollback(self) -> Published:
        """Show the generation before, and drop the current one."""
        if not self._file.is_there():
            raise nothing_published(self._table)
        with self._file.publisher(), self._transaction() as session:
            catalog = Catalog(session, self._table)
            published = catalog.roll_back()
            _drop_unpublished(session, catalog)
        return published

    def get(self, key: Sequence[str]) -> StoredPrediction | None:
        """Opens the file for reading, which costs far more than the look-up itself."""
        if not self._file.is_there():
            raise nothing_published(self._table)
        with self._transaction(read_only=True) as session:
            catalog = Catalog(session, self._table)
            entry = checked_entry(catalog.published(), self._table, key)
            arrays = key_arrays(decoded(entry.schema), entry.key, key)
            if arrays is None:
                return None
            relation = quoted(catalog.relation(entry.published.name))
            rows = session.frame(row_query(relation, entry.key), [value_of(array) for array in arrays])
        return entry.prediction(json_values(rows)) if len(rows) else None

    def close(self) -> None:
        """Nothing is held open."""

    @contextmanager
    def _transaction(self, read_only: bool = False) -> Iterator["_Session"]:
        try:
            with self._open(read_only) as connection:
                connection.begin()
                yield _Session(connection)
                connection.commit()
        except duckdb.Error as error:
            raise self._explained(error) from error

    def _open(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        """Open the file as soon as nobody else has it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return duckdb.connect(self._file.path, read_only=read_only)
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                if not _is_held(error) or time.monotonic() > deadline:
                    raise
            # Two that pause equally long would meet again and again.
            time.sleep(random.uniform(0, LONGEST_PAUSE_S))  # noqa: S311

    def _explained(self, error: duckdb.Error) -> MlkitError:
        why = str(error).partition("\n")[0]
        if isinstance(error, duckdb.BinderException) and REGISTRY in str(error):
            return foreign_registry()
        if "constraint violation" in why or isinstance(error, duckdb.ConstraintException):
            return InputError(f"table {self._table!r}: two rows have the same key, or one has none")
        if "read-only mode" in why:
            why = "it is no DuckDB database"  # DuckDB would make a view of such a file, in memory
        fix = "close the file there, and run again" if _is_held(error) else ""
        return self._file.failure(why, fix)


class _Session:
    """A transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(sql, parameters).fetchall()
        return rows

    def frame(self, sql: str, parameters: Sequence[object]) -> pl.DataFrame:
        return pl.DataFrame(self._connection.sql(sql, params=parameters).to_arrow_table())

    def kind_of(self, name: str) -> str | None:
        found = self.query("SELECT type FROM sqlite_master WHERE lower(name) = lower($1)", (name,))
        return str(found[0][0]) if found else None

    def qualified(self, name: str) -> str:
        return quoted(name)

    def point_view(self, view: str, relation: str) -> None:
        self.query(f"CREATE OR REPLACE VIEW {quoted(view)} AS SELECT * FROM {quoted(relation)}")

    def load(self, generation: Generation, relation: str) -> None:
        parts = [str(part) for part in generation.parts]
        if parts:
            self._connection.register("rows", self._connection.read_parquet(parts, hive_partitioning=False))
        else:
            self._connection.register("rows", decoded(generation.schema).empty_table())
        self.query(f"CREATE TABLE {quoted(relation)} AS SELECT * FROM rows")
        if generation.key:
            columns = ", ".join(map(quoted, generation.key))
            self.query(f"CREATE UNIQUE INDEX {quoted(f'{relation}__key')} ON {quoted(relation)} ({columns})")


def _drop_unpublished(session: _Session, catalog: Catalog) -> None:
    for name in catalog.unpublished():
        session.query(f"DROP TABLE IF EXISTS {quoted(catalog.relation(name))}")
        catalog.forget(name)


def _is_held(error: duckdb.Error) -> bool:
    """Whether another process, or another connection of this one, has the file open."""
    return "Could not set lock" in str(error) or "different configuration" in str(error)
