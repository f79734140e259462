"""A table or a query of SQLite. A column may hold values of any type, as JSON may: that is how they are read."""

import json
import math
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.modes.batch.sources.extract.interface import Query
from mlops_kit.modes.batch.sources.extract.spool import check_names
from mlops_kit.tables.sql.columns import quoted

SUFFIX = ".ndjson"
BATCH_ROWS = 10_000
STEPS = 1_000_000
"""Instructions of SQLite's machine after which a long sort is asked whether it should stop."""


def extract(query: Query, target: Path, on_rows: Callable[[int], None]) -> Sequence[str]:
    """One statement, hence one snapshot."""
    path = Path(query.database.path)
    if not path.is_file():
        raise UsageError(f"{path}: no such file", fix="check INPUT; four slashes begin an absolute path")
    sql = query.sql or f"SELECT * FROM {quoted(query.database.table)}"  # noqa: S608 - quoted
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
            connection.set_progress_handler(lambda: _wants_stop(on_rows), STEPS)
            return _write(connection.execute(sql), target, on_rows)
    except sqlite3.OperationalError as error:
        on_rows(0)
        if "lock" in str(error) or "busy" in str(error):
            raise StoreError(f"{path}: SQLite is busy", str(error), "run again in a moment") from error
        raise UsageError(f"{path}: the query cannot be carried out", str(error), "try it in sqlite3") from error
    except sqlite3.Error as error:
        raise UsageError(f"{path}: SQLite cannot read it", str(error), "check INPUT and --sql") from error


def _write(cursor: sqlite3.Cursor, target: Path, on_rows: Callable[[int], None]) -> Sequence[str]:
    if cursor.description is None:
        raise UsageError("--sql gives no rows", "it is not a SELECT", "write one")
    names = [column[0] for column in cursor.description]
    check_names(names)
    with target.open("wb") as file:
        while rows := cursor.fetchmany(BATCH_ROWS):
            file.write(b"".join(_line(dict(zip(names, row, strict=True))) for row in rows))
            on_rows(len(rows))
    return names


def _line(row: dict[str, Any]) -> bytes:
    for name, value in row.items():
        if isinstance(value, float) and math.isinf(value):
            # JSON has no infinity. As text it is refused, and not taken for a missing value.
            row[name] = "Infinity" if value > 0 else "-Infinity"
    try:
        return orjson.dumps(row, default=_escaped) + b"\n"
    except TypeError:
        # Text that is not UTF-8: written as it is, and refused with the row.
        return json.dumps(row, ensure_ascii=False, default=_escaped).encode(errors="surrogateescape") + b"\n"


def _wants_stop(on_rows: Callable[[int], None]) -> bool:
    try:
        on_rows(0)
    except BaseException:  # noqa: BLE001 - SQLite ends the statement, and it is raised again after that
        return True
    return False


def _escaped(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
