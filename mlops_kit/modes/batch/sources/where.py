"""A SQL condition on rows, in DuckDB's dialect."""

import json
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from mlops_kit.errors import InputError, UsageError, listed, suggestion
from mlops_kit.schema import Array

SETTINGS = """
SET TimeZone = 'UTC'; SET threads = 1; SET enable_external_access = false; SET lock_configuration = true
"""
"""A condition looks at its row and at no file, means the same on every machine, and keeps the rows' order."""

CLOCKS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""What the parser takes for columns."""

QUERY = "SELECT ({condition}\n) IS TRUE AS met FROM input_rows"


class RowFilter:
    """A condition on one row, checked against the columns there are. Threads may share it.

    Times without a zone are UTC. `columns` are those that the condition needs, in the schema's order; the batches
    given to `mask` must have them, and may have others.
    """

    def __init__(self, condition: str, schema: pa.Schema) -> None:
        """Raises UsageError for what is no condition on these columns, or would not always answer the same."""
        self._condition = condition
        self._local = threading.local()
        expression = _parse(condition)
        self._refuse_unstable(expression, schema)
        mentioned = {name.lower() for name in _mentioned(expression)}
        # A condition without columns still needs one, to know how many rows there are.
        self.columns = tuple(name for name in schema.names if name.lower() in mentioned) or (schema.names[0],)
        self._check(schema)

    def mask(self, batch: pa.RecordBatch) -> Array:
        """Which rows meet the condition; where it is null, the row does not.

        Raises InputError if it fails on a value, in a cast for example.
        """
        if not hasattr(self._local, "prepared"):
            self._local.prepared = _Prepared(self._condition)
        prepared: _Prepared = self._local.prepared
        try:
            return prepared.mask(batch.select(list(self.columns)))
        except duckdb.Error as error:
            # DuckDB's own message shows the value.
            why = "a cast or a calculation in it does not go with a row's value"
            fix = "use TRY_CAST, which gives NULL for what cannot be cast"
            raise InputError(f"--where {self._condition!r} fails", why, fix) from error

    def _refuse_unstable(self, expression: dict[str, Any], schema: pa.Schema) -> None:
        called = {name.lower() for name in _mentioned(expression, "function_name")}
        clocks = {name.lower() for name in _mentioned(expression)} - {name.lower() for name in schema.names}
        if unstable := sorted((called & _unstable_functions()) | (clocks & CLOCKS)):
            raise UsageError(
                f"--where {self._condition!r}: {unstable[0]} does not always give the same",
                "a run that goes on after a crash would mix two answers",
                "write the value itself, such as DATE '2026-01-31'",
            )

    def _check(self, schema: pa.Schema) -> None:
        what = f"--where {self._condition!r}"
        # All columns, so that DuckDB can say which one might be meant; a row, so that it looks at constants.
        nulls = pa.RecordBatch.from_arrays([pa.nulls(1, field.type) for field in schema], names=schema.names)
        try:
            with _connect() as connection:
                connection.register("input_rows", nulls)
                # WHERE takes neither aggregates nor window functions, which would look at other rows.
                connection.execute(f"SELECT 1 FROM input_rows WHERE ({self._condition}\n)").fetchall()  # noqa: S608
                connection.execute(f"SELECT ({self._condition}\n) FROM input_rows")  # noqa: S608
                kind = str(connection.description[0][1])
        except duckdb.Error as error:
            reason = str(error).strip().split("\n", 1)[0]
            unknown = reason.partition('column "')[2].partition('"')[0]
            fix = "write a condition such as a > 1"
            if unknown:
                fix = suggestion([unknown], schema.names) or f"the input has {listed(schema.names)}"
            elif "VARCHAR" in reason:
                fix = "cast text, as in CAST(a AS DOUBLE) > 1: columns of CSV are text unless the model takes them"
            raise UsageError(what, reason, fix) from error
        if kind != "BOOLEAN":
            fix = "compare it with something: --where \"origin = 'JFK'\""
            raise UsageError(f"{what} is no condition", f"it gives {kind}, not true or false", fix)


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(SETTINGS)
    return connection


class _Prepared:
    """A connection of one thread. The condition is planned once for batches of one schema, not for each."""

    def __init__(self, condition: str) -> None:
        self._connection = _connect()
        self._prepare = "PREPARE met AS " + QUERY.format(condition=condition)
        self._batch = _Replaceable()

    def mask(self, batch: pa.RecordBatch) -> Array:
        is_new = self._batch.schema != batch.schema
        self._batch.batch, self._batch.schema = batch, batch.schema
        if is_new:
            self._connection.register("input_rows", self._batch)
            self._connection.execute(self._prepare)
        answer: Array = self._connection.execute("EXECUTE met").fetchnumpy()["met"]
        return answer


class _Replaceable:
    """What DuckDB scans: always the batch that is in it now."""

    def __init__(self) -> None:
        self.batch: pa.RecordBatch | None = None
        self.schema: pa.Schema | None = None

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.Table.from_batches([self.batch]).__arrow_c_stream__(requested_schema)


def _parse(condition: str) -> dict[str, Any]:
    """The condition's syntax tree. Raises UsageError unless it is one expression without a query in it."""
    what = f"--where {condition!r}"
    parsed, plain = _syntax_tree(condition), _syntax_tree("true")
    if parsed["error"]:
        raise UsageError(what, parsed["error_message"].split("\n", 1)[0], "write a condition such as a > 1")
    expressions = _take_expressions(parsed)
    _take_expressions(plain)
    # A condition that closes the parenthesis itself can say anything; then more differs than the expression.
    if len(expressions) != 1 or parsed != plain:
        raise UsageError(f"{what} is more than one condition", fix="write one condition such as a > 1 AND b = 2")
    expression: dict[str, Any] = expressions[0]
    if {"SUBQUERY", "STAR"} & {*_values(expression, "class")}:
        why = "it may look at the columns of its row only, one by one"
        raise UsageError(f"{what} has a query or a star in it", why, "use --sql for more")
    return expression


def _syntax_tree(condition: str) -> dict[str, Any]:
    with _connect() as connection:
        tree = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({condition}\n)"]).fetchall()[0][0]
    parsed: dict[str, Any] = json.loads(tree)
    return parsed


def _take_expressions(tree: dict[str, Any]) -> list[Any]:
    expressions: list[Any] = tree["statements"][0]["node"].pop("select_list", [])
    return expressions


def _mentioned(expression: dict[str, Any], key: str = "column_names") -> Iterator[str]:
    for value in _values(expression, key):
        yield from [value] if isinstance(value, str) else value


def _values(node: Any, key: str) -> Iterator[Any]:
    """Every value that has this key, however deep."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        for child in node.values():
            yield from _values(child, key)
    elif isinstance(node, list):
        for child in node:
            yield from _values(child, key)


@cache
def _unstable_functions() -> frozenset[str]:
    query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
    with _connect() as connection:
        return frozenset(name for (name,) in connection.execute(query).fetchall())
