"""A table of generations in PostgreSQL."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
from adbc_driver_postgresql import dbapi

from mlops_kit.errors import UsageError
from mlops_kit.tables.address import Address
from mlops_kit.tables.generation import Generation
from mlops_kit.tables.interface import Published, StoredPrediction
from mlops_kit.tables.postgres.failures import DEPENDENTS, NOT_IN_TIME, explained
from mlops_kit.tables.postgres.session import Session
from mlops_kit.tables.sql.catalog import (
    REGISTRY,
    Catalog,
    check_table_name,
    checked_entry,
    nothing_published,
    row_query,
)
from mlops_kit.tables.sql.columns import key_arrays, quoted, storage_schema, store_batch
from mlops_kit.tables.values import json_values

ROWS_PER_COPY = 131_072
LONGEST_NAME = 63
"""Bytes of an identifier; what is longer would be cut off."""
LONGEST_TABLE_NAME = 35
"""Bytes that the name of a generation leaves of it."""
SQL_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "REAL",
    pa.float64(): "DOUBLE PRECISION",
    pa.string(): "TEXT",
    pa.date32(): "DATE",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}


def open_table(address: Address, password: str = "") -> "PostgresTable":
    """Connect. Raises StoreError if the server cannot be reached, UsageError for a name that it cannot have."""
    schema, _, table = address.table.rpartition(".")
    check_table_name(table, "PostgreSQL", most_bytes=LONGEST_TABLE_NAME)
    opened = PostgresTable(address, password, schema, table)
    opened.connect()
    return opened


class PostgresTable:
    """A view on the current generation, with a table for each one that is kept."""

    def __init__(self, address: Address, password: str, schema: str, table: str) -> None:
        self._address = address
        self._password = password
        self._schema = schema
        self._table = table
        self._session: Session | None = None

    def connect(self) -> None:
        """Connect now, and not when something is asked for."""
        with self._connected():
            pass

    def current(self) -> Published | None:
        """The generation that the registry names."""
        with self._connected() as session:
            entry = Catalog(session, self._table).current()
        return entry.published if entry else None

    def publish(self, generation: Generation, keep: int, on_rows: Callable[[int], None]) -> None:
        """Load, switch, then drop what is old. A table that is there has all of its rows."""
        storage = storage_schema(generation.schema)
        _check_column_names(storage)
        self.close()  # it may have been idle for so long that something on the way has forgotten it
        with self._connected() as session:
            catalog = Catalog(session, self._table)
            with session.transaction():
                session.lock(REGISTRY)
                catalog.create()
                catalog.refuse_foreign()
            relation = catalog.relation(generation.name)
            while not self._switch(session, generation.name, keep):
                with session.transaction():
                    session.lock(relation)
                    if session.kind_of(relation) is None:
                        catalog.record(generation)
                        _load(session, generation, storage, relation, on_rows)
            self._drop_unpublished(session)

    def rollback(self) -> Published:
        """Show the generation before, and drop the current one."""
        with self._connected() as session:
            with session.transaction():
                session.lock(self._table)
                published = Catalog(session, self._table).roll_back()
            self._drop_unpublished(session)
        return published

    def get(self, key: Sequence[str]) -> StoredPrediction | None:
        """Reads the registry while a lock on the view keeps publishers from switching."""
        with self._connected() as session, session.transaction("READ ONLY"):
            if session.kind_of(self._table) is None:
                raise nothing_published(self._table)
            view = session.qualified(self._table)
            session.query(f"LOCK TABLE {view} IN ACCESS SHARE MODE")
            entry = checked_entry(Catalog(session, self._table).published(), self._table, key)
            arrays = key_arrays(storage_schema(entry.schema), entry.key, key)
            rows = None if arrays is None else session.frame(row_query(view, entry.key), arrays)
        if rows is None or rows.is_empty():
            return None
        numbers = [field.name for field in entry.schema if pa.types.is_uint64(field.type)]
        values = dict(json_values(rows))
        return entry.prediction(values | {name: values[name] and int(values[name]) for name in numbers})

    def close(self) -> None:
        """Hang up."""
        if self._session:
            self._session.close()
            self._session = None

    @contextmanager
    def _connected(self) -> Iterator[Session]:
        try:
            self._session = self._session or Session(self._address, self._password, self._schema)
            yield self._session
        except dbapi.Error as error:
            was_connected = self._session is not None
            self.close()
            raise explained(error, str(self._address), was_connected=was_connected) from error

    def _switch(self, session: Session, name: str, keep: int) -> bool:
        """False if the generation is not loaded, or another publisher has dropped it since.

        Not in the transaction that loads: a statement may begin, wait for the view, and then read what it shows by
        now. It sees no rows that were committed after it began.
        """
        catalog = Catalog(session, self._table)
        relation = catalog.relation(name)
        with session.transaction():
            session.lock(relation)
            if session.kind_of(relation) is None:
                return False
            session.query(f"ANALYZE {session.qualified(relation)}")
            session.lock(self._table)
            catalog.switch(name, keep)
        return True

    def _drop_unpublished(self, session: Session) -> None:
        """What somebody reads, or has built on, is left for the next time."""
        catalog = Catalog(session, self._table)
        for name in catalog.unpublished():
            try:
                with session.transaction():
                    if session.try_lock(catalog.relation(name)) and name in catalog.unpublished():
                        session.limit_lock_waits()
                        session.query(f"DROP TABLE IF EXISTS {session.qualified(catalog.relation(name))}")
                        catalog.forget(name)
            except dbapi.Error as error:
                if error.sqlstate not in (NOT_IN_TIME, DEPENDENTS):
                    raise


def _load(
    session: Session, generation: Generation, storage: pa.Schema, relation: str, on_rows: Callable[[int], None]
) -> None:
    table = session.qualified(relation)
    columns = ", ".join(
        f"{quoted(field.name)} {_sql_type(field.type)}{' NOT NULL' if field.name in generation.key else ''}"
        for field in storage
    )
    session.query(f"CREATE TABLE {table} ({columns})")
    for batch in generation.batches(ROWS_PER_COPY):
        session.copy(relation, store_batch(batch, storage))
        on_rows(batch.num_rows)
    if generation.key:
        session.query(f"CREATE UNIQUE INDEX ON {table} ({', '.join(map(quoted, generation.key))})")


def _sql_type(dtype: pa.DataType) -> str:
    if pa.types.is_list(dtype):
        return f"{_sql_type(dtype.value_type)}[]"
    if pa.types.is_decimal(dtype):
        return f"NUMERIC({dtype.precision}, {dtype.scale})"
    return SQL_TYPES[dtype]


def _check_column_names(schema: pa.Schema) -> None:
    for name in schema.names:
        if len(name.encode()) > LONGEST_NAME:
            raise UsageError(f"column {name!r}: PostgreSQL takes names of {LONGEST_NAME} bytes", fix="rename it")
