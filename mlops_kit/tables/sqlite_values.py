"""Values as SQLite stores them, and back. It knows whole numbers, floats and text."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from mlops_kit.tables.values import json_value


def sql_type(dtype: pa.DataType) -> str:
    """What to declare a column as, which programs go by."""
    if pa.types.is_boolean(dtype):
        return "BOOLEAN"
    if pa.types.is_integer(dtype):
        return "INTEGER"
    # A column of the type REAL would make 0.0 of -0.0.
    return "" if pa.types.is_floating(dtype) else "TEXT"


def stored_rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """The rows of a batch as SQLite takes them."""
    frame = pl.DataFrame(batch)
    return zip(*(_stored_list(frame[field.name], field.type) for field in batch.schema), strict=True)


def _stored_list(column: pl.Series, dtype: pa.DataType) -> list[Any]:
    values = column.to_list()
    if pa.types.is_list(dtype):
        return [None if value is None else json.dumps(json_value(value)) for value in values]
    if pa.types.is_temporal(dtype) or pa.types.is_decimal(dtype):
        return list(map(json_value, values))
    return values


def restored_values(schema: pa.Schema, row: Sequence[Any]) -> Mapping[str, Any]:
    """A row of SQLite as JSON has it."""
    return {field.name: _restored(value, field.type) for field, value in zip(schema, row, strict=True)}


def _restored(value: Any, dtype: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_boolean(dtype):
        return bool(value)
    if pa.types.is_uint64(dtype):
        return int(value)
    return json.loads(value) if pa.types.is_nested(dtype) else json_value(value)
