"""Predictions as Arrow tables, and rows as they go into the file of bad rows."""

import datetime
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from mlops_kit.modes.batch.conversion import columns_of_batch, record_of, table_of_outputs

OUTPUTS: dict[str, Any] = {
    "floats": np.array([1.5, np.nan], np.float32),
    "whole numbers": np.array([1, 2], np.int8),
    "every other one": np.arange(4.0)[::2],
    "truth": np.array([True, False]),
    "labels": np.array(["a", "b"], object),
    "vectors": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32),
}


@pytest.mark.parametrize("values", OUTPUTS.values(), ids=OUTPUTS)
def test_a_table_of_no_rows_has_the_types_of_some(values: "np.ndarray[Any, Any]") -> None:
    some, none = table_of_outputs({"y": values}), table_of_outputs({"y": values[:0]})
    assert some.schema == none.schema
    assert str(some["y"].to_pylist()) == str(values.tolist())
    assert none.num_rows == 0


COLUMNS = {
    "float16": pa.array(np.array([1, 2, 3], np.float16)),
    "floats with nulls": pa.array([1.5, None, 3.0], pa.float32()),
    "whole numbers with nulls": pa.array([1, None, 3], pa.int32()),
    "uint8": pa.array([1, 2, 3], pa.uint8()),
    "truth with nulls": pa.array([True, None, False]),
    "decimals": pa.array([1, None, 3], pa.decimal128(20, 3)),
}


@pytest.mark.parametrize("array", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("rows", [slice(0, 3), slice(1, 3), slice(2, 2)])
def test_numbers_are_what_they_were(array: pa.Array, rows: slice) -> None:
    part = array[rows.start : rows.stop]
    values = columns_of_batch(pa.RecordBatch.from_arrays([part], names=["x"]), ["x"])["x"]
    wanted = [np.nan if value is None else float(value) for value in part.to_pylist()]
    assert np.array_equal(values.astype(float), wanted, equal_nan=True)


def test_a_time_that_python_has_none_for_is_kept_as_its_number() -> None:
    far = pa.array([2**60], pa.timestamp("us"))
    near = pa.array([datetime.date(2026, 11, 21)])
    batch = pa.RecordBatch.from_arrays([far, near], names=["far", "near"])
    assert orjson.loads(record_of(batch, 0)) == {"far": 2**60, "near": "2026-11-21"}
