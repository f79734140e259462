"""Columns of Arrow as columns of Cassandra, and their values as the driver takes them.

Times are ISO 8601 text: a `timestamp` of Cassandra has milliseconds, and would lose the rest.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from cassandra.query import UNSET_VALUE

from mlops_kit.errors import InputError, UsageError
from mlops_kit.tables.sql.columns import UINT64, quoted, storage_schema, store_batch

RESERVED = ("generation", "key")
"""Columns that every table has, because they find a row."""

CQL_TYPES = {
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "text",
    pa.date32(): "date",
}
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""The days, counted from 1970, that Python has dates for: from the year 1 to 9999."""


class Column(msgspec.Struct, frozen=True, array_like=True):
    """A column of a generation. A `cql_type` of "" is one that is null in every row, and is not stored."""

    name: str
    cql_type: str

    @property
    def quoted(self) -> str:
        """Its name in CQL."""
        return quoted(self.name)


def plan_columns(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns in which rows of this schema are stored. Raises UsageError for those that cannot be."""
    for name in schema.names:
        if name in RESERVED or not name:
            why = f"{' and '.join(RESERVED)} are the columns by which a row is found, and every column has a name"
            raise UsageError(f"Cassandra cannot store a column called {name!r}", why, "give it another name")
    pairs = zip(schema, storage_schema(schema), strict=True)
    return tuple(Column(field.name, _cql_type(field.type, stored.type)) for field, stored in pairs)


def values_of(batch: pa.RecordBatch, columns: Sequence[Column]) -> list[list[Any]]:
    """These columns of a batch, each as a list of values that the driver takes. A null is a value not set, which
    unlike null leaves no tombstone. Raises InputError for a value that cannot be stored as it is.
    """
    stored = store_batch(batch, storage_schema(batch.schema))
    return [_values(stored.column(column.name), column) for column in columns]


def _cql_type(given: pa.DataType, stored: pa.DataType) -> str:
    if pa.types.is_null(given):
        return ""
    if pa.types.is_list(stored):
        return f"frozen<list<{CQL_TYPES[stored.value_type]}>>"
    if pa.types.is_timestamp(stored):
        return "text"
    if pa.types.is_decimal(stored):
        is_whole_number = stored == UINT64 and not pa.types.is_decimal(given)
        return "varint" if is_whole_number else "decimal"
    return CQL_TYPES[stored]


def _values(array: pa.Array, column: Column) -> list[Any]:
    items = array.flatten() if pa.types.is_list(array.type) else array
    _refuse_far_days(items, column.name)
    series = pl.Series(array)
    if items is not array and items.null_count:
        # Cassandra 5.0 takes a null within a list, and can then neither read it nor start again.
        if not pa.types.is_floating(items.type):
            what = f"column {column.name!r} has a list with a missing value in it"
            raise InputError(what, "Cassandra cannot store that", "fill it, or leave the column out")
        series = series.list.eval(pl.element().fill_null(math.nan))
    values = series.to_list()
    if pa.types.is_timestamp(array.type):
        return [UNSET_VALUE if value is None else value.isoformat() for value in values]
    if column.cql_type == "varint":
        return [UNSET_VALUE if value is None else int(value) for value in values]
    return [UNSET_VALUE if value is None else value for value in values] if array.null_count else values


def _refuse_far_days(array: pa.Array, name: str) -> None:
    if not pa.types.is_temporal(array.type):
        return
    days = pc.min_max(array.cast(pa.date32(), safe=False).cast(pa.int32())).as_py()
    if days["min"] is not None and not FIRST_DAY <= days["min"] <= days["max"] <= LAST_DAY:
        what = f"column {name!r} has a date outside of the years 1 to 9999"
        raise InputError(what, fix="check the unit that its numbers were read in, or leave the column out")
