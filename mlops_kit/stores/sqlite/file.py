"""The file: what tells that it is one of ours, how it is made, and how it is opened."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from mlops_kit.errors import UsageError

APPLICATION_ID = int.from_bytes(b"mlkv", "big")
LAYOUT = 1
SCHEMA = (
    "CREATE TABLE spaces (id INTEGER PRIMARY KEY, name TEXT UNIQUE)",
    "CREATE TABLE kept (space INTEGER NOT NULL, key BLOB NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL, "
    "PRIMARY KEY (space, key))",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {LAYOUT}",
)
SETTINGS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # without it, macOS syncs to the drive's cache
    "PRAGMA cache_size = -16384",
    "PRAGMA journal_size_limit = 67108864",
)


class FileConnection(sqlite3.Connection):
    """`rest` is what the file was when it was opened as one that nobody writes to; None for all others."""

    path: Path
    rest: tuple[int, ...] | None = None


def is_store(path: Path) -> bool:
    """Whether the file is there and not empty. Raises UsageError if it is something else, and does not touch it:
    to open another program's database as usual would be to recover it after a crash.
    """
    try:
        if path.stat().st_size == 0:
            return False
    except FileNotFoundError:
        return False
    application, layout = _read_header(path)
    if application != APPLICATION_ID:
        raise UsageError(f"{path}: not a store", "the file is something else's", "choose another file")
    if layout != LAYOUT:
        raise UsageError(
            f"{path}: values in a layout that this version does not know",
            f"they have layout {layout}, and it knows {LAYOUT}",
            "use the version of mlkit that wrote them, or choose another file",
        )
    return True


def _read_header(path: Path) -> tuple[int, int]:
    """Through SQLite, which closes the file only when no other connection of this process has a lock on it, as all
    of them would end then: https://www.sqlite.org/howtocorrupt.html, section 2.2.
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        try:
            ((application,),) = connection.execute("PRAGMA application_id")
            ((layout,),) = connection.execute("PRAGMA user_version")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorname != "SQLITE_NOTADB":
                raise
            return 0, 0
    return application, layout


def make_file(path: Path, timeout_s: float) -> None:
    """In one transaction, without a log, so that the header tells at once what the file is."""
    with closing(sqlite3.connect(path, timeout=timeout_s, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")


def open_file(path: Path, timeout_s: float) -> FileConnection:
    """A connection that several threads may use in turns. The file must be there."""
    rest = _rest_of(path)
    connection = sqlite3.connect(
        f"{path.as_uri()}?{'immutable=1' if rest else 'mode=rw'}",
        timeout=timeout_s, isolation_level=None, uri=True, check_same_thread=False, factory=FileConnection,
    )  # fmt: skip
    connection.path, connection.rest = path, rest
    try:
        if not rest:
            _begin_log(connection, timeout_s)
        for setting in SETTINGS:
            connection.execute(setting)
    except BaseException:
        connection.close()
        raise
    return connection


def _begin_log(connection: sqlite3.Connection, timeout_s: float) -> None:
    """SQLite does not wait for others that do the same at this moment."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _rest_of(path: Path) -> tuple[int, ...] | None:
    """What the file is, if nobody writes to it and this user cannot: then SQLite must be told that it needs no
    log, which it could not make.
    """
    if os.access(path.parent, os.W_OK, effective_ids=True) or Path(f"{path}-wal").exists():
        return None
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def is_up_to_date(connection: FileConnection) -> bool:
    """Whether nobody has begun to write to a file at rest."""
    return connection.rest is None or connection.rest == _rest_of(connection.path)
