"""Which columns a SQL table can hold, and as what."""

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from mlops_kit.errors import InputError, UsageError

TEXT, UINT64 = pa.string(), pa.decimal128(20, 0)
LARGEST_PRECISION = 38
STORED_AS = {
    pa.int8(): pa.int16(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): UINT64,
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
    pa.large_string(): TEXT,
    pa.string_view(): TEXT,
    pa.null(): TEXT,
}
"""Types that not every database has, and the smallest one that holds all of their values."""
PLAIN = {
    pa.bool_(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), TEXT, pa.date32(),
}  # fmt: skip


def quoted(name: str) -> str:
    """An identifier, whatever it is made of.

    >>> print(quoted('a"b'))
    "a""b"
    """
    return '"' + name.replace('"', '""') + '"'


def storage_schema(schema: pa.Schema) -> pa.Schema:
    """The columns with the types that they are stored as: those of PLAIN, times in microseconds, decimals, and
    lists of PLAIN. Raises UsageError for a column that cannot be stored.
    """
    return pa.schema([(field.name, _storage_type(field)) for field in schema])


def refuse_equal_names(schema: pa.Schema, database: str) -> None:
    """Raise UsageError if two columns differ in upper and lower case only, where the database sees none."""
    seen: dict[str, str] = {}
    for name in schema.names:
        if (other := seen.setdefault(name.lower(), name)) != name:
            what = f"columns {other!r} and {name!r} have the same name in {database}"
            raise UsageError(what, "upper and lower case are one there", "rename or leave out one of them")


def store_batch(batch: pa.RecordBatch, storage: pa.Schema) -> pa.RecordBatch:
    """The same values as `storage_schema` has them. Raises InputError for one that would have to be changed."""
    columns = [_store_column(batch.column(field.name), field) for field in storage]
    return pa.record_batch(columns, schema=storage)


def key_arrays(schema: pa.Schema, names: Sequence[str], key: Sequence[str]) -> list[pa.Array] | None:
    """Each text of a key as an array of one value, of its column's type; None where a text cannot be of that type,
    so that no row has it.
    """
    arrays = []
    for name, text in zip(names, key, strict=True):
        try:
            # pa.scalar and pa.array would import pandas.
            arrays.append(pl.Series([text]).to_arrow().cast(schema.field(name).type))
        except pa.ArrowException:
            return None
    return arrays


def value_of(array: pa.Array) -> object:
    """The one value of an array."""
    return pl.Series(array).item()


def decoded(schema: pa.Schema) -> pa.Schema:
    """The columns with the types of their values, where they are dictionaries of them."""
    return pa.schema([(field.name, _value_type(field.type)) for field in schema])


def _value_type(dtype: pa.DataType) -> pa.DataType:
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


def _storage_type(field: pa.Field) -> pa.DataType:
    dtype = _value_type(field.type)
    stored = STORED_AS.get(dtype, dtype)
    if stored in PLAIN or stored == UINT64:
        return stored
    if pa.types.is_timestamp(stored):
        return pa.timestamp("us", "UTC" if stored.tz else None)
    if pa.types.is_decimal(stored) and stored.precision <= LARGEST_PRECISION and stored.scale >= 0:
        return pa.decimal128(stored.precision, stored.scale)
    if pa.types.is_list(stored) or pa.types.is_large_list(stored) or pa.types.is_fixed_size_list(stored):
        item = STORED_AS.get(stored.value_type, stored.value_type)
        if item in PLAIN:
            return pa.list_(item)
    raise UsageError(
        f"column {field.name!r}: {field.type} cannot be stored in a database", fix="name other columns with --keep"
    )


def _store_column(array: pa.Array, field: pa.Field) -> pa.Array:
    if array.type == field.type:
        return array
    try:
        return array.cast(field.type)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"column {field.name!r}: a {array.type} does not fit into {field.type}",
            fix=f"round or cast {field.name!r} with --sql, or leave it out with --keep",
        ) from error
