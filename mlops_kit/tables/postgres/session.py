"""A connection to PostgreSQL, and what is done through it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from mlops_kit.errors import UsageError
from mlops_kit.tables.address import Address
from mlops_kit.tables.postgres.connection import connection_uri
from mlops_kit.tables.postgres.failures import DEPENDENTS, NOT_IN_TIME
from mlops_kit.tables.sql.columns import quoted

LOCK_TIMEOUT, PATIENCE_S = "1s", 120.0
"""How long readers may have to queue behind a switch that cannot be made yet, and how long it is tried."""


class Session:
    """A connection. Outside of `transaction`, each statement is a transaction of its own."""

    def __init__(self, address: Address, password: str, schema: str) -> None:
        self._connection = dbapi.connect(connection_uri(address, password), autocommit=True)
        self.schema = schema or str(self.query("SELECT coalesce(current_schema(), 'public')")[0][0])

    def close(self) -> None:
        """Hang up; the server rolls back what is open."""
        self._connection.close()

    @contextmanager
    def transaction(self, access: str = "READ WRITE") -> Iterator[None]:
        """Commit in the end, or roll back."""
        self.query(f"BEGIN ISOLATION LEVEL READ COMMITTED {access}")
        try:
            yield
            self.query("COMMIT")
        except BaseException:
            try:
                self.query("ROLLBACK")
            except dbapi.Error:
                self.close()
            raise

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """See `tables.sql.catalog.Session`."""
        # The driver would make arrays of Python values by way of pandas.
        arrays = [pl.Series([value]).to_arrow() for value in parameters]
        with self._connection.cursor() as cursor:
            cursor.execute(sql, _bound(arrays))
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def frame(self, sql: str, parameters: Sequence[pa.Array]) -> pl.DataFrame:
        """The answer to a query whose parameters are arrays of one value each."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, _bound(parameters))
            return pl.DataFrame(cursor.fetch_arrow_table())

    def copy(self, relation: str, batch: pa.RecordBatch) -> None:
        """Append rows to a table."""
        with self._connection.cursor() as cursor:
            cursor.adbc_ingest(relation, batch, mode="append", db_schema_name=self.schema)

    def lock(self, name: str) -> None:
        """Wait for an advisory lock, and hold it until the end of the transaction."""
        self.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))::text", (self._lock_name(name),))

    def try_lock(self, name: str) -> bool:
        """The same, without waiting."""
        sql = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"
        return bool(self.query(sql, (self._lock_name(name),))[0][0])

    def kind_of(self, name: str) -> str | None:
        """See `tables.sql.catalog.Session`."""
        found = self.query(
            "SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END "
            "FROM pg_class WHERE relname = $1 AND relnamespace = to_regnamespace($2)",
            (name, quoted(self.schema)),
        )
        return str(found[0][0]) if found else None

    def qualified(self, name: str) -> str:
        """With the schema."""
        return f"{quoted(self.schema)}.{quoted(name)}"

    def point_view(self, view: str, relation: str) -> None:
        """Replace the view, which keeps privileges and other views on it; if the columns do not allow that, make a
        new one with the same privileges. Raises UsageError if other views forbid it.
        """
        body = f"VIEW {self.qualified(view)} AS SELECT * FROM {self.qualified(relation)}"
        before = self._columns(view)
        if before == self._columns(relation)[: len(before)]:
            self._make_patiently([f"CREATE OR REPLACE {body}"])
            return
        grants = self._grants(view)
        try:
            self._make_patiently([f"DROP VIEW {self.qualified(view)}", f"CREATE {body}", *grants])
        except dbapi.Error as error:
            if error.sqlstate != DEPENDENTS:
                raise
            what = f"the columns of {view!r} change, and other views depend on it"
            raise UsageError(
                what, fix="drop those views and make them anew afterwards, or name another table"
            ) from error

    def limit_lock_waits(self) -> None:
        """Within this transaction, or until the savepoint, rather fail than keep readers waiting."""
        self.query(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")

    def _make_patiently(self, statements: Sequence[str]) -> None:
        """Readers that come after a statement that waits for a lock have to wait, too: it gives up soon, lets them
        pass, and tries again.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self.query("SAVEPOINT mlkit")
            self.limit_lock_waits()
            try:
                for statement in statements:
                    self.query(statement)
            except dbapi.Error as error:
                if error.sqlstate != NOT_IN_TIME or time.monotonic() > deadline:
                    raise
                self.query("ROLLBACK TO SAVEPOINT mlkit")
            else:
                self.query("RELEASE SAVEPOINT mlkit")
                return

    def _columns(self, name: str) -> list[tuple[Any, ...]]:
        return self.query(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (self.qualified(name),),
        )

    def _grants(self, view: str) -> list[str]:
        found = self.query(
            "SELECT privilege_type, is_grantable, "
            "CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END FROM pg_class, aclexplode(relacl) "
            "WHERE oid = to_regclass($1) AND grantee <> relowner",
            (self.qualified(view),),
        )
        return [
            f"GRANT {privilege} ON {self.qualified(view)} TO {role}" + (" WITH GRANT OPTION" if may_grant else "")
            for privilege, may_grant, role in found
        ]

    def _lock_name(self, name: str) -> str:
        return f"mlkit {self.qualified(name)}"


def _bound(arrays: Sequence[pa.Array]) -> pa.RecordBatch | None:
    return pa.record_batch(list(arrays), names=[str(number) for number in range(len(arrays))]) if arrays else None
