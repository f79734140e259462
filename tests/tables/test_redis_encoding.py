"""Rows become JSON and keys by the column; here they are compared with what Python makes of each row."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import hiredis
import orjson
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.errors import UsageError
from mlops_kit.tables.generation import key_text
from mlops_kit.tables.redis.encoding import RowEncoder
from mlops_kit.tables.values import json_value

BERLIN = ZoneInfo("Europe/Berlin")
MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))  # what fits into nanoseconds
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))

TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int8": (pa.int8(), st.integers(-128, 127)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "float64": (pa.float64(), st.floats()),
    "bool": (pa.bool_(), st.booleans()),
    "string": (pa.string(), TEXTS),
    "large string": (pa.large_string(), TEXTS),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), TEXTS),
    "date32": (pa.date32(), st.dates()),
    "date64": (pa.date64(), st.dates()),
    "time": (pa.time64("us"), st.times()),
    "timestamp": (pa.timestamp("us"), MOMENTS),
    "timestamp of seconds": (pa.timestamp("s"), MOMENTS.map(lambda moment: moment.replace(microsecond=0))),
    "timestamp in UTC": (pa.timestamp("us", "UTC"), MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC))),
    "timestamp in Berlin": (
        pa.timestamp("us", "Europe/Berlin"),
        # Polars knows no summer time beyond 2099, and writes the same moment with another offset.
        st.datetimes(datetime(1700, 1, 1), datetime(2099, 1, 1)).map(
            lambda moment: moment.replace(tzinfo=UTC).astimezone(BERLIN)
        ),
    ),
    "decimal": (pa.decimal128(20, 2), st.integers(-(10**18), 10**18).map(lambda cents: Decimal(cents) / 100)),
    "list of floats": (pa.list_(pa.float64()), st.lists(st.none() | st.floats())),
    "list of times": (pa.list_(pa.timestamp("us")), st.lists(st.none() | MOMENTS)),
    "array of dates": (pa.list_(pa.date64(), 2), st.lists(st.dates(), min_size=2, max_size=2)),
}
KEY_TYPES = {name: kind for name, kind in TYPES.items() if "list" not in name and "array" not in name}


def encode(columns: dict[str, pa.Array], key: Sequence[str], prefix: str = "p:") -> list[tuple[str, Any]]:
    """The key and the row of every pair in the commands."""
    batch = pa.record_batch(columns)
    reader = hiredis.Reader()
    for command in RowEncoder(batch.schema, key, prefix).encode(batch):
        reader.feed(command)
    pairs: list[tuple[str, Any]] = []
    while isinstance(command := reader.gets(), list):
        assert command[0] == b"MSET"
        pairs += [(k.decode(), orjson.loads(v)) for k, v in zip(command[1::2], command[2::2], strict=True)]
    return pairs


def as_text(value: Any) -> str:
    """Distinguishes values that are equal and not the same: -0.0 and 0.0, 1 and True."""
    return json.dumps(value)


@pytest.mark.parametrize(("dtype", "values"), TYPES.values(), ids=TYPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_values_are_what_json_has_for_them(
    dtype: pa.DataType, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    column = pa.array(data.draw(st.lists(st.none() | values, min_size=1, max_size=5)), dtype)
    pairs = encode({"id": pa.array(range(len(column))), "odd": column}, ["id"])
    assert [as_text(row["odd"]) for _, row in pairs] == [as_text(json_value(v)) for v in column.to_pylist()]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_a_float32_becomes_the_same_float32_again(values: list[float]) -> None:
    column = pa.array(values, pa.float32())
    pairs = encode({"id": pa.array(range(len(values))), "odd": column}, ["id"])
    assert pa.array([row["odd"] for _, row in pairs], pa.float32()) == column


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_keys_are_those_of_key_text(names: tuple[str, ...], data: st.DataObject) -> None:
    columns = {}
    for name in names:
        dtype, values = KEY_TYPES[data.draw(st.sampled_from(sorted(KEY_TYPES)))]
        columns[name] = pa.array(data.draw(st.lists(values, min_size=3, max_size=3)), dtype)
    rows = zip(*(columns[name].to_pylist() for name in names), strict=True)
    assert [key for key, _ in encode(columns, names)] == [f"p:{key_text(row)}" for row in rows]


def test_nanoseconds_are_kept() -> None:
    column = pa.array([1_000_000_001, 1_000_001_000, 1_000_000_000], pa.int64()).cast(pa.timestamp("ns"))
    assert [row["odd"] for _, row in encode({"id": pa.array([0, 1, 2]), "odd": column}, ["id"])] == [
        "1970-01-01T00:00:01.000000001",
        "1970-01-01T00:00:01.000001",
        "1970-01-01T00:00:01",
    ]


@pytest.mark.parametrize("rows", [0, 1, 999, 1000, 1001, 2500])
def test_every_row_is_in_one_command_whatever_their_number(rows: int) -> None:
    pairs = encode({"id": pa.array(range(rows), pa.int64())}, ["id"])
    assert pairs == [(f"p:{i}", {"id": i}) for i in range(rows)]


def test_a_column_called_as_those_inside_is_no_matter() -> None:
    columns = {"key": pa.array([1]), "row": pa.array(["x"]), "": pa.array([2.5])}
    assert encode(columns, ["key"], "é:") == [("é:1", {"key": 1, "row": "x", "": 2.5})]


def test_the_first_rows_of_a_sliced_batch_are_those_of_the_slice() -> None:
    frame = pl.DataFrame({"id": range(10), "s": [str(i) for i in range(10)]})
    batch = frame.to_arrow().to_batches()[0].slice(7)
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    assert encode(columns, ["id"]) == [(f"p:{i}", {"id": i, "s": str(i)}) for i in range(7, 10)]


UNKNOWN_TYPES = {
    "binary": pa.binary(),
    "struct": pa.struct({"a": pa.int32()}),
    "map": pa.map_(pa.string(), pa.int32()),
    "duration": pa.duration("s"),
    "time with an offset": pa.timestamp("us", "+05:30"),
    "decimal of 256 bits": pa.decimal256(50, 2),
    "list of binary": pa.list_(pa.binary()),
}


@pytest.mark.parametrize("dtype", UNKNOWN_TYPES.values(), ids=UNKNOWN_TYPES)
def test_a_type_that_json_does_not_have_is_refused_with_the_column(dtype: pa.DataType) -> None:
    with pytest.raises(UsageError, match=r"column 'odd' .* leave the column out"):
        RowEncoder(pa.schema({"id": pa.int64(), "odd": dtype}), ["id"], "p:")


def test_times_of_day_are_written_as_python_writes_them() -> None:
    column = pa.array([time(1, 2, 3), time(1, 2, 3, 500_000), time(0)], pa.time64("us"))
    found = [row["t"] for _, row in encode({"id": pa.array([0, 1, 2]), "t": column}, ["id"])]
    assert found == ["01:02:03", "01:02:03.500000", "00:00:00"]


def test_early_dates_have_four_digits() -> None:
    assert encode({"d": pa.array([date(1, 1, 1)])}, ["d"]) == [("p:0001-01-01", {"d": "0001-01-01"})]
