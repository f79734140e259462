"""The store: reading, writing and dropping."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlops_kit.errors import MlkitError, StoreError, UsageError
from mlops_kit.stores.connections import Connections
from mlops_kit.stores.interface import Value, Write
from mlops_kit.stores.limits import check_writes, scan_by_key
from mlops_kit.stores.options import refuse_unknown, seconds
from mlops_kit.stores.sqlite.file import FileConnection, is_store, is_up_to_date, make_file, open_file
from mlops_kit.tables.address import Address

TIMEOUT_S = 30.0
ROWS_PER_REMOVAL = 1000

SPACE = "(SELECT id FROM spaces WHERE name = ?)"
READ = f"SELECT version, data FROM kept WHERE space = {SPACE} AND key = ?"
SCAN = f"SELECT key, version, data FROM kept WHERE space = {SPACE} AND key >= ? ORDER BY key LIMIT ?"
PUT = (
    "INSERT INTO kept (space, key, data, version) VALUES (?, ?, ?, 1) "
    "ON CONFLICT (space, key) DO UPDATE SET version = version + 1, data = excluded.data"
)
CREATE = "INSERT OR IGNORE INTO kept (space, key, data, version) VALUES (?, ?, ?, 1)"
REPLACE = "UPDATE kept SET version = version + 1, data = ? WHERE space = ? AND key = ? AND version = ?"
REMOVE = f"DELETE FROM kept WHERE rowid IN (SELECT rowid FROM kept WHERE space = ? LIMIT {ROWS_PER_REMOVAL})"
FIXES = {
    "SQLITE_BUSY": "wait until no other process writes to it for so long, or raise timeout_s",
    "SQLITE_FULL": "make room on the disk",
    "SQLITE_IOERR": "make room on the disk, or mend it",
    "SQLITE_READONLY": "let this user write to the file and its folder",
}


def open_store(address: Address, _password: str = "") -> "SqliteStore":
    """The store in this file, which need not be there yet. Raises UsageError if the file is something else."""
    if address.hosts or not address.path:
        fix = "write sqlite:///FILE for one in this folder, sqlite:////FOLDER/FILE for one anywhere"
        raise UsageError(f"{address}: which file?", fix=fix)
    refuse_unknown(address, ["timeout_s"])
    return SqliteStore(Path(address.path), seconds(address, "timeout_s", TIMEOUT_S))


class SqliteStore:
    """A store in a file."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path.absolute()
        self._timeout_s = timeout_s
        # SQLite lets those that wait try again at intervals, in which threads of one process would starve.
        self._writing = threading.Lock()
        self._connections = Connections(
            self._connect, is_up_to_date, sqlite3.Connection.close, (sqlite3.Error, OSError), self._explained
        )
        self._is_made = False
        self._is_there()

    def read(self, addresses: Sequence[tuple[str, bytes]]) -> list[Value | None]:
        """See `interface.Store`."""
        if not self._is_there():
            return [None] * len(addresses)
        with self._connections.taken() as connection:
            rows = [connection.execute(READ, address).fetchone() for address in addresses]
        return [Value(*row) if row else None for row in rows]

    def write(self, space: str, writes: Sequence[Write]) -> list[bool]:
        """In one transaction."""
        check_writes(space, writes)
        with self._writing, self._connections.taken() as connection:
            connection.execute("BEGIN IMMEDIATE")
            number = _number_of(connection, space)
            cursor = connection.cursor()
            done = [_write(cursor, number, write) for write in writes]
            connection.execute("COMMIT")
        return done

    def scan(self, space: str) -> Iterator[tuple[bytes, Value]]:
        """By the order of the keys."""

        def read_page(lowest: bytes, most: int) -> list[tuple[bytes, Value]]:
            with self._connections.taken() as connection:
                rows = connection.execute(SCAN, (space, lowest, most)).fetchall()
            return [(key, Value(version, data)) for key, version, data in rows]

        if self._is_there():
            yield from scan_by_key(read_page)

    def spaces(self, prefix: str = "") -> list[str]:
        """See `interface.Store`."""
        if not self._is_there():
            return []
        with self._connections.taken() as connection:
            rows = connection.execute(
                "SELECT name FROM spaces WHERE name NOT NULL "
                "AND EXISTS (SELECT 1 FROM kept WHERE space = spaces.id) ORDER BY name"
            ).fetchall()
        return [name for (name,) in rows if name.startswith(prefix)]

    def drop(self, space: str) -> None:
        """At once for readers; then the values are removed in many transactions, those of drops that were killed,
        too.
        """
        if not self._is_there():
            return
        self._run("UPDATE spaces SET name = NULL WHERE name = ?", (space,))
        with self._connections.taken() as connection:
            dropped = connection.execute("SELECT id FROM spaces WHERE name IS NULL").fetchall()
        for number in dropped:
            while self._run(REMOVE, number):
                pass
            self._run("DELETE FROM spaces WHERE id = ? AND name IS NULL", number)

    def close(self) -> None:
        """See `interface.Store`."""
        self._connections.close()

    def _run(self, sql: str, parameters: tuple[object, ...]) -> int:
        with self._writing, self._connections.taken() as connection:
            return connection.execute(sql, parameters).rowcount

    def _is_there(self) -> bool:
        if not self._is_made:
            try:
                self._is_made = is_store(self._path)
            except (OSError, sqlite3.Error) as error:
                raise self._explained(error) from error
        return self._is_made

    def _connect(self) -> FileConnection:
        if not is_store(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            make_file(self._path, self._timeout_s)
            is_store(self._path)  # who else made it?
        return open_file(self._path, self._timeout_s)

    def _explained(self, error: Exception) -> MlkitError:
        why = error.strerror if isinstance(error, OSError) else str(error)
        name = getattr(error, "sqlite_errorname", "")
        fix = next((fix for code, fix in FIXES.items() if name.startswith(code)), "")
        return StoreError(
            f"{self._path}: SQLite failed", why or "", fix or "check that it can be read and written"
        )


def _number_of(connection: sqlite3.Connection, space: str) -> int:
    found = connection.execute("SELECT id FROM spaces WHERE name = ?", (space,)).fetchone()
    if found:
        return int(found[0])
    return connection.execute("INSERT INTO spaces (name) VALUES (?)", (space,)).lastrowid or 0


def _write(cursor: sqlite3.Cursor, space: int, write: Write) -> bool:
    if write.replaces is None:
        cursor.execute(PUT, (space, write.key, write.data))
    elif write.replaces == 0:
        cursor.execute(CREATE, (space, write.key, write.data))
    else:
        cursor.execute(REPLACE, (write.data, space, write.key, write.replaces))
    return cursor.rowcount == 1
