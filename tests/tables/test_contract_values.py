"""What every backend of tables must give back of the values that were published, run against each of them."""

import struct
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_kit.errors import InputError, UsageError
from mlops_kit.tables.generation import Generation, name_generation
from mlops_kit.tables.interface import Table
from tests.tables.backends import BACKENDS
from tests.tables.contract import (
    ROWS,
    assert_serves,
    digest_of,
    publish,
    row_of,
)
from tests.tables.generations import make_frame, write_generation


def test_every_row_is_found_as_it_was_written(table: Table, tmp_path: Path) -> None:
    frame = make_frame(ROWS)
    generation = write_generation(tmp_path, frame)
    publish(table, generation)
    assert_serves(table, generation, frame)


def test_a_key_of_two_columns_finds_every_row(table: Table, tmp_path: Path) -> None:
    frame = make_frame(ROWS)
    generation = write_generation(tmp_path, frame, key=("origin", "day"))
    publish(table, generation)
    assert_serves(table, generation, frame)


@pytest.mark.parametrize("key", ["at", "is_first", "small"])
def test_keys_of_other_types_find_every_row(table: Table, tmp_path: Path, key: str) -> None:
    frame = make_frame(2).with_columns(is_first=pl.col("id") == 0)
    generation = write_generation(tmp_path, frame, key=(key,))
    publish(table, generation)
    assert_serves(table, generation, frame)


@pytest.mark.parametrize(
    "key", ["99999", "-1", "99999999999999999999", "JFK", "", "1.5", "1' OR '1'='1", "%", "é"]
)
def test_an_unknown_key_finds_nothing(table: Table, tmp_path: Path, key: str) -> None:
    publish(table, write_generation(tmp_path, make_frame(ROWS)))
    assert table.get([key]) is None


@pytest.mark.parametrize("key", [[], ["1", "2"]])
def test_a_wrong_number_of_key_values_is_refused(table: Table, tmp_path: Path, key: list[str]) -> None:
    publish(table, write_generation(tmp_path, make_frame(ROWS)))
    with pytest.raises(UsageError, match="'id'"):
        table.get(key)


def test_extremes_come_back_as_the_same_bits(table: Table, tmp_path: Path) -> None:
    doubles = [5e-324, -0.0, 1.7976931348623157e308, 0.1 + 0.2, 1e22, 123456789.12345679, 2.0**53 + 2]
    singles = [1e-45, -0.0, 3.4028235e38, 0.1, 16777216.0, 1 / 3, 1e-10]
    longs = [2**63 - 1, -(2**63), 2**53 + 1, 0, -1, 1, 10**18]
    frame = pl.DataFrame(
        {
            "id": range(7),
            "d": doubles,
            "s": pl.Series(singles, dtype=pl.Float32),
            "i": pl.Series(longs, dtype=pl.Int64),
        }
    )
    publish(table, write_generation(tmp_path, frame))
    for i in range(7):
        values = row_of(table, [str(i)]).values
        assert struct.pack("<d", values["d"]) == struct.pack("<d", doubles[i])
        assert struct.pack("<f", values["s"]) == struct.pack("<f", singles[i])
        assert values["i"] == longs[i]


def test_a_table_without_a_key_has_no_look_up(scheme: str, table: Table, tmp_path: Path) -> None:
    generation = write_generation(tmp_path, make_frame(ROWS), key=())
    if not BACKENDS[scheme].takes_tables_without_key:
        with pytest.raises(UsageError, match="--key"):
            publish(table, generation)
        return
    publish(table, generation)
    assert table.current() is not None
    with pytest.raises(UsageError, match="run again with --key"):
        table.get(["1"])


OTHER_TYPES = {
    "uint8": (pa.uint8(), 255, 255),
    "uint16": (pa.uint16(), 65535, 65535),
    "uint32": (pa.uint32(), 2**32 - 1, 2**32 - 1),
    "uint64": (pa.uint64(), 2**64 - 1, 2**64 - 1),
    "float16": (pa.float16(), np.float16(0.5), 0.5),
    "infinity": (pa.float64(), float("inf"), None),
    "string": (pa.string(), "é", "é"),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), "é", "é"),
    "date64": (pa.date64(), date(2026, 11, 21), "2026-11-21"),
    "timestamp without zone": (pa.timestamp("ms"), datetime(2026, 11, 21, 8, 30), "2026-11-21T08:30:00"),
    "list of floats": (pa.list_(pa.float32()), [0.5, None, float("nan")], [0.5, None, None]),
    "fixed-size list": (pa.list_(pa.float64(), 2), [0.1, 0.2], [0.1, 0.2]),
    "decimal": (pa.decimal128(10, 2), Decimal("1.50"), "1.50"),
    "null": (pa.null(), None, None),
}
REFUSABLE_TYPES = {
    "binary": (pa.binary(), b"\0\xff"),
    "struct": (pa.struct({"a": pa.int32()}), {"a": 1}),
    "time": (pa.time64("us"), datetime(2026, 11, 21, 8, 30).time()),
    "nanoseconds": (pa.timestamp("ns"), np.datetime64("2026-11-21T08:30:00.000000001", "ns")),
    "list of text": (pa.list_(pa.string()), ["a"]),
    "list of lists": (pa.list_(pa.list_(pa.int8())), [[1]]),
}


def write_column(folder: Path, dtype: pa.DataType, value: Any) -> Generation:
    """A generation of one row: an id, and the value in the column `odd`."""
    name = name_generation()
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table({"id": pa.array([1]), "odd": pa.array([value], dtype)}), path)
    return Generation(name, digest_of(1), "2026-11-21T08:30:00Z", ("id",), 1, pq.read_schema(path), (path,))


@pytest.mark.parametrize(("dtype", "value", "expected"), OTHER_TYPES.values(), ids=OTHER_TYPES)
def test_other_types_are_found_as_json_has_them(
    table: Table, tmp_path: Path, dtype: pa.DataType, value: Any, expected: Any
) -> None:
    publish(table, write_column(tmp_path, dtype, value))
    found = row_of(table, ["1"]).values["odd"]
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(("dtype", "value"), REFUSABLE_TYPES.values(), ids=REFUSABLE_TYPES)
def test_a_column_that_cannot_be_stored_is_named_and_nothing_changes(
    table: Table, tmp_path: Path, dtype: pa.DataType, value: Any
) -> None:
    first = write_generation(tmp_path, make_frame(3))
    publish(table, first)
    generation = write_column(tmp_path, dtype, value)
    refused = None
    try:
        publish(table, generation)
    except (UsageError, InputError) as error:
        refused = error
    if refused is None:
        assert row_of(table, ["1"]).values["odd"] is not None
    else:
        assert "'odd'" in refused.what
        assert_serves(table, first, make_frame(3))
