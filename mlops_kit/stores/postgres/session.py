"""A connection to PostgreSQL, and what failed on it."""

import math
import select
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.abc import RV, PQGen

from mlops_kit.errors import MlkitError, StoreError, UsageError
from mlops_kit.stores.postgres.statements import DESCRIBE, LAYOUT, LOCK, MAKE, SETTINGS

ANSWER_TIMEOUT_S = 5.0
GRACE_S = 1.0
"""Beyond its own time-out, for a server to say that it gave up."""

Row = tuple[Any, ...]

FIXES = {
    "08": "check that the server runs and can be reached, then try again",
    "25006": "give the address of the primary server",
    "42501": "let an administrator grant this role what it needs on mlkit_values, or CREATE on its schema",
    "53": "make room on the server, or let others finish, then try again",
    "57014": "try again, or allow more time with timeout_s",
    "57": "try again when the server accepts work",
}
"""By the beginning of the SQLSTATE."""

NOT_CONNECTED = (
    "check that the server runs and has this database, user and password (if the address has none, libpq looks in "
    "PGPASSWORD and ~/.pgpass); timeout_s allows more time"
)


class _Connection(psycopg.Connection[Row]):
    """One that gives up."""

    timeout_s = ANSWER_TIMEOUT_S + GRACE_S

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        return super().wait(gen, interval, self.timeout_s if timeout is None else timeout)


@dataclass(slots=True)
class Session:
    """A connection, through one cursor. `has_table` is whether it has seen the table."""

    connection: _Connection
    cursor: psycopg.Cursor[Row]
    has_table: bool = False

    def query(self, statement: str, *parameters: object) -> list[Row]:
        """The rows that the server answers with."""
        return self.cursor.execute(statement, parameters, prepare=True).fetchall()

    def find_table(self) -> bool:
        """Whether it is there. Raises UsageError if it is somebody else's, or in another layout."""
        if not self.has_table:
            ((found, layout),) = self.query(DESCRIBE)
            if found and layout is None:
                # The server looks for a table as it is now, and for its comment as when the query began. Whoever
                # made both in between did so in one transaction.
                ((found, layout),) = self.query(DESCRIBE)
            if found and layout != LAYOUT:
                raise UsageError(
                    "mlkit_values: a table that this version of mlkit does not know",
                    f"its comment says {layout!r}, and not {LAYOUT!r}",
                    "choose another schema with ?schema=, or use the version of mlkit that made it",
                )
            self.has_table = bool(found)
        return self.has_table

    def make_table(self) -> None:
        """Unless it is there; those that try at once do so one after the other."""
        if not self.find_table():
            with self.connection.transaction():
                self.query(LOCK)
                self.connection.execute(MAKE)

    def is_usable(self) -> bool:
        """What can be read before anything was asked is the server's farewell."""
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Hang up; the server rolls back what is open."""
        self.connection.close()


def connect(uri: str, schema: str, timeout_s: float) -> Session:
    """A connection whose statements take this long at most. `schema` is empty for the server's choice."""
    connection = _Connection.connect(uri, autocommit=True, cursor_factory=psycopg.RawCursor)
    connection.timeout_s = timeout_s + GRACE_S
    try:
        connection.execute(SETTINGS.format(timeout_ms=math.ceil(timeout_s * 1000)))
        if schema:
            connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
    except BaseException:
        connection.close()
        raise
    return Session(connection, connection.cursor(binary=True))


def explained(error: Exception, place: str) -> MlkitError:
    """The error to raise instead."""
    state = (error.sqlstate if isinstance(error, psycopg.Error) else None) or ""
    message = _message_of(error)
    if state.startswith("3F"):
        return UsageError(f"{place}: PostgreSQL refused", message, "create the schema, or name another one")
    if state.startswith("42") and state != "42501":
        fix = "let nobody else change mlkit_values, then try again"
        return StoreError(f"{place}: PostgreSQL refused", message, fix)
    fix = next((fix for beginning, fix in FIXES.items() if state.startswith(beginning)), "")
    return StoreError(f"{place}: PostgreSQL failed", message, fix or ("try again" if state else NOT_CONNECTED))


def _message_of(error: Exception) -> str:
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return primary or str(error).partition("\n")[0].rstrip(".")
