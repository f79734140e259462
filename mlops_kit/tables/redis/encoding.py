"""Rows as the commands that store them, made by the column instead of by the row.

The protocol (RESP) writes a command as `*COUNT`, then each argument as `$LENGTH` and its bytes, all of it ending
in CR LF. Polars writes a whole batch of such arguments into one buffer, of which commands are slices.
"""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
from polars.datatypes import DataTypeClass

from mlops_kit.errors import UsageError
from mlops_kit.tables.generation import key_text

ROWS_PER_COMMAND = 1000
"""More than that gains nothing, and keeps other clients of the server waiting for more than a millisecond."""

PLAIN_TYPES = (
    pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string,
    pa.types.is_string_view, pa.types.is_date, pa.types.is_time, pa.types.is_decimal32, pa.types.is_decimal64,
    pa.types.is_decimal128, pa.types.is_null,
)  # fmt: skip
LIST_TYPES = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


class RowEncoder:
    """Turns batches of one schema into MSET commands; a row's key is `prefix` and the text of its key columns.

    Raises UsageError, when it is made, for a column that has no form in JSON.
    """

    def __init__(self, schema: pa.Schema, key: Sequence[str], prefix: str) -> None:
        for field in schema:
            if not _has_json_form(field.type):
                raise UsageError(
                    f"column {field.name!r} cannot be stored in Redis",
                    f"there is no JSON for values of type {field.type}",
                    "leave the column out, or cast it (times with an offset to UTC)",
                )
        self._schema = pa.schema([(field.name, _storage_type(field.type)) for field in schema])
        self._key = list(key)
        self._prefix = prefix
        frame = _frame(pa.Table.from_batches([], self._schema))
        self._row = pl.struct(_json_form(pl.col(name), dtype) for name, dtype in frame.schema.items())

    def encode(self, batch: pa.RecordBatch) -> list[bytes]:
        """The commands that store these rows."""
        frame = _frame(pa.Table.from_batches([batch]).cast(self._schema))
        keys = self._prefix + _key_texts(frame.select(self._key))
        rows = frame.select(key=keys, row=self._row.struct.json_encode())
        pairs = rows.select(pl.concat_str(*_argument("key"), *_argument("row"))).to_series()
        _, offsets, data = pairs.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
        ends = np.frombuffer(offsets, np.int64)
        commands = []
        for first in range(0, len(pairs), ROWS_PER_COMMAND):
            last = min(first + ROWS_PER_COMMAND, len(pairs))
            head = b"*%d\r\n$4\r\nMSET\r\n" % (1 + 2 * (last - first))
            commands.append(head + memoryview(data)[ends[first] : ends[last]])
        return commands


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.DataFrame(table)
    frame.columns = table.column_names  # Polars calls a column without a name column_0.
    return frame


def _argument(column: str) -> tuple[pl.Expr, ...]:
    text = pl.col(column)
    return pl.lit("$"), text.str.len_bytes().cast(pl.String), pl.lit("\r\n"), text, pl.lit("\r\n")


def _has_json_form(dtype: pa.DataType) -> bool:
    if pa.types.is_timestamp(dtype):
        return dtype.tz is None or _is_time_zone(dtype.tz)
    if any(is_list(dtype) for is_list in LIST_TYPES) or pa.types.is_dictionary(dtype):
        return _has_json_form(dtype.value_type)
    return any(is_plain(dtype) for is_plain in PLAIN_TYPES)


def _is_time_zone(name: str) -> bool:
    """Polars takes names, and no offsets such as +05:30."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _storage_type(dtype: pa.DataType) -> pa.DataType:
    """The type that Polars reads as what the column means: a date64 is a date, and no time."""
    if pa.types.is_date64(dtype):
        return pa.date32()
    if pa.types.is_dictionary(dtype):
        return _storage_type(dtype.value_type)
    if pa.types.is_fixed_size_list(dtype):
        return pa.list_(_storage_type(dtype.value_type), dtype.list_size)
    if any(is_list(dtype) for is_list in LIST_TYPES):
        return pa.large_list(_storage_type(dtype.value_type))
    return dtype


def _json_form(values: pl.Expr, dtype: pl.DataType | DataTypeClass) -> pl.Expr:
    """What Polars writes as JSON as it should be; times are the one thing that it writes in another form."""
    if isinstance(dtype, pl.Datetime | pl.Time):
        return _iso_text(values, dtype)
    if isinstance(dtype, pl.List):
        return values.list.eval(_json_form(pl.element(), dtype.inner))
    if isinstance(dtype, pl.Array):
        return values.arr.to_list().list.eval(_json_form(pl.element(), dtype.inner))
    return values


def _iso_text(times: pl.Expr, dtype: pl.Datetime | pl.Time) -> pl.Expr:
    """As Python's isoformat() has it, which writes a fraction only where there is one."""
    seconds, zone = "%H:%M:%S", ""
    if isinstance(dtype, pl.Datetime):
        seconds, zone = "%Y-%m-%dT%H:%M:%S", "%::z" if dtype.time_zone else ""
    nanoseconds = times.dt.nanosecond()
    text = (
        pl.when(nanoseconds == 0)
        .then(times.dt.strftime(seconds + zone))
        .when(nanoseconds % 1000 == 0)
        .then(times.dt.strftime(f"{seconds}%.6f{zone}"))
        .otherwise(times.dt.strftime(f"{seconds}%.9f{zone}"))
    )
    # Offsets of whole minutes, which are all of the last hundred years, have no seconds.
    return text.str.strip_suffix(":00") if zone else text


def _key_texts(columns: pl.DataFrame) -> pl.Series:
    """What `key_text` makes of each row."""
    texts = columns.select(_key_column(values) for values in columns)
    if texts.width == 1:
        return texts.to_series()
    escaped = (pl.col(name).str.replace_all("%", "%25", literal=True) for name in texts.columns)
    return texts.select(
        pl.concat_str((text.str.replace_all(":", "%3A", literal=True) for text in escaped), separator=":")
    ).to_series()


def _key_column(values: pl.Series) -> pl.Series | pl.Expr:
    dtype = values.dtype
    if dtype.is_integer() or dtype in (pl.String, pl.Boolean, pl.Date):
        return values.cast(pl.String)
    if isinstance(dtype, pl.Datetime | pl.Time):
        return _iso_text(pl.col(values.name), dtype)
    return pl.Series(values.name, [key_text([value]) for value in values], pl.String)
