from decimal import Decimal
from typing import Any

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from mlops_kit.errors import ColumnValueError, InputError, MissingColumnsError
from mlops_kit.predictor import Predictor
from mlops_kit.runtimes.onnx_runtime import OnnxRuntime
from mlops_kit.schema import FLOATS, INTEGERS, Column, Output, Signature, Tensor

TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64,
         "string": TensorProto.STRING, "bool": TensorProto.BOOL}  # fmt: skip


def echo(tensors: dict[str, tuple[str, list[Any]]]) -> OnnxRuntime:
    """A graph that gives every input back as `out_<input>`, so that tests see the assembled tensors."""
    values = [(name, TYPES[dtype], shape) for name, (dtype, shape) in tensors.items()]
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"out_{name}"]) for name in tensors],
        "echo",
        [helper.make_tensor_value_info(*value) for value in values],
        [helper.make_tensor_value_info(f"out_{name}", dtype, shape) for name, dtype, shape in values],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return OnnxRuntime(model.SerializeToString())


def scalar_predictor(column: Column, dtype: str, null_text: str = "") -> Predictor:
    signature = Signature(
        (column,),
        (Tensor("t", dtype, (column.name,), "array", null_text),),
        (Output("prediction", dtype, "out_t"),),
    )
    return Predictor(signature, echo({"t": (dtype, ["n"])}))


def matrix_predictor(columns: list[Column], dtype: str, row_block: int = 1) -> Predictor:
    names = tuple(column.name for column in columns)
    signature = Signature(
        tuple(columns),
        (Tensor("t", dtype, names, "matrix"),),
        tuple(Output(f"out_{name}", dtype, "out_t", index) for index, name in enumerate(names)),
    )
    return Predictor(signature, echo({"t": (dtype, ["n", len(names)])}), row_block)


ACCEPTED = [
    (Column("x", "float64"), "float32", 0.1, float(np.float32(0.1))),
    (Column("x", "float64"), "float64", 3, 3.0),
    (Column("x", "float64"), "float64", np.float32(0.1), float(np.float32(0.1))),
    (Column("x", "float64"), "float32", 1e300, np.inf),
    (Column("x", "int64"), "float32", 2**24 + 1, 2.0**24),
    (Column("x", "int64"), "int64", 2**62 + 1, 2**62 + 1),
    (Column("x", "int64"), "int64", 3.0, 3),
    (Column("x", "int16"), "int64", -5, -5),
    (Column("x", "bool"), "bool", True, True),
    (Column("x", "bool"), "bool", 1, True),
    (Column("x", "bool"), "float32", False, 0.0),
    (Column("x", "float64"), "float64", np.int8(3), 3.0),
    (Column("x", "string"), "string", "JFK", "JFK"),
    (Column("x", "string", nullable=True), "string", pd.NA, "missing"),
    (Column("x", "string", nullable=True), "string", float("nan"), "missing"),
    (Column("x", "string", nullable=True), "string", None, "missing"),
]


@pytest.mark.parametrize(("column", "dtype", "value", "expected"), ACCEPTED)
def test_a_value_becomes_what_the_model_takes(column: Column, dtype: str, value: Any, expected: Any) -> None:
    predictor = scalar_predictor(column, dtype, "missing")
    assert predictor.predict({"x": value}) == {"prediction": expected}


REFUSED = [
    (Column("x", "float64"), "float32", "12", "text where the model takes a number"),
    (Column("x", "float64"), "float32", None, "a missing value where the model takes a number"),
    (Column("x", "float64"), "float32", float("nan"), "a missing value where the model takes a number"),
    (Column("x", "float64"), "float32", [1.0], "a list where the model takes a number"),
    (Column("x", "float64"), "float64", {"a": 1}, "an object where the model takes a number"),
    (Column("x", "float64"), "float64", b"12", "bytes where the model takes a number"),
    (Column("x", "int64"), "int64", 2.5, "a number that is not whole where the model takes a whole number"),
    (Column("x", "int64"), "float32", 2.5, "a number that is not whole where the model takes a whole number"),
    (Column("x", "int64"), "int64", 2**64, "a number out of range where the model takes a whole number"),
    (Column("x", "int64"), "int64", None, "a missing value where the model takes a whole number"),
    (
        Column("x", "uint8"),
        "float32",
        300,
        "a number out of range where the model takes a whole number from 0 to 255",
    ),
    (Column("x", "float64"), "float64", True, "true or false where the model takes a number"),
    (Column("x", "int64"), "int64", False, "true or false where the model takes a whole number"),
    (Column("x", "float64"), "float64", np.array(True), "true or false where the model takes a number"),
    (Column("x", "bool"), "bool", 2, "a number other than 0 and 1 where the model takes true or false"),
    (Column("x", "int64"), "float64", 2**63, "a number out of range where the model takes a whole number"),
    (Column("x", "float64"), "float64", Decimal(1), "a Decimal where the model takes a number"),
    (Column("x", "string"), "string", pd.NA, "a missing value where the model takes text"),
    (Column("x", "string"), "string", 12, "a number where the model takes text"),
    (Column("x", "string"), "string", None, "a missing value where the model takes text"),
]


@pytest.mark.parametrize(("column", "dtype", "value", "reason"), REFUSED)
def test_a_value_that_does_not_fit_is_refused_by_name(column: Column, dtype: str, value: Any, reason: str) -> None:
    with pytest.raises(ColumnValueError, match=f"column 'x', row 0: {reason}"):
        scalar_predictor(column, dtype).predict({"x": value})


@pytest.mark.parametrize(("column", "dtype", "value", "reason"), REFUSED)
def test_a_matrix_refuses_the_same_values(column: Column, dtype: str, value: Any, reason: str) -> None:
    if column.dtype == "string":
        return
    dtype = "float64" if dtype not in FLOATS else dtype
    predictor = matrix_predictor([Column("a", "float64"), column], dtype)
    with pytest.raises(ColumnValueError, match=f"column 'x', row 0: {reason}"):
        predictor.predict({"a": 1.0, "x": value})


def test_a_missing_column_is_named_with_the_one_that_looks_alike() -> None:
    with pytest.raises(MissingColumnsError, match=r"missing column: 'x'.*did you mean 'xx' for 'x'\?"):
        scalar_predictor(Column("x", "float64"), "float32").predict({"xx": 1.0})


def test_the_first_bad_row_of_a_batch_is_named() -> None:
    predictor = scalar_predictor(Column("x", "float64"), "float32")
    with pytest.raises(ColumnValueError, match="column 'x', row 2: a missing value"):
        predictor.predict({"x": np.array([1.0, 2.0, np.nan, np.nan])})


def test_columns_of_different_lengths_are_refused() -> None:
    predictor = matrix_predictor([Column("a", "float64"), Column("b", "float64")], "float32")
    with pytest.raises(InputError, match="a: 2, b: 3"):
        predictor.predict({"a": np.zeros(2), "b": np.zeros(3)})


def test_an_array_of_the_wrong_shape_is_refused() -> None:
    signature = Signature(
        (Column("image", "float32", (3, None)),),
        (Tensor("t", "float32", ("image",), "array"),),
        (Output("prediction", "float32", "out_t", shape=(3, None)),),
    )
    predictor = Predictor(signature, echo({"t": ("float32", ["n", 3, "w"])}))
    assert predictor.predict({"image": np.zeros((2, 3, 5), np.float32)})["prediction"].shape == (2, 3, 5)
    assert predictor.predict({"image": [[1, 2]] * 3})["prediction"].shape == (3, 2)
    with pytest.raises(ColumnValueError, match=r"values of shape \(4, 5\) where the model takes .*\(3, any\)"):
        predictor.predict({"image": np.zeros((2, 4, 5), np.float32)})


def test_lists_without_a_shape_are_refused() -> None:
    signature = Signature(
        (Column("image", "float32", (2, None)),),
        (Tensor("t", "float32", ("image",), "array"),),
        (Output("prediction", "float32", "out_t", shape=(2, None)),),
    )
    predictor = Predictor(signature, echo({"t": ("float32", ["n", 2, "w"])}))
    with pytest.raises(ColumnValueError, match="lists of different lengths"):
        predictor.predict({"image": [[1], [2, 3]]})
    with pytest.raises(ColumnValueError, match="text where the model takes a number"):
        predictor.predict({"image": [[1, "a"], [2, 3]]})


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(InputError, match="not valid Unicode"):
        scalar_predictor(Column("x", "string"), "string").predict({"x": "\ud800"})


def test_numpys_own_text_columns_are_taken() -> None:
    predictor = scalar_predictor(Column("x", "string", nullable=True), "string", "missing")
    values = np.array(["a", None], dtype=np.dtypes.StringDType(na_object=None))
    assert predictor.predict({"x": values})["prediction"].tolist() == ["a", "missing"]


FRAMES = [pl.DataFrame, pd.DataFrame, pa.table]


@pytest.mark.parametrize("frame", FRAMES)
def test_a_frame_is_taken_as_its_columns(frame: Any) -> None:
    predictor = matrix_predictor([Column("a", "float64"), Column("b", "float64", nullable=True)], "float64")
    outputs = predictor.predict(frame({"c": ["x", "y"], "b": [1.5, None], "a": [1, 2]}))
    assert outputs["out_a"].tolist() == [1, 2]
    assert outputs["out_b"].tolist() == pytest.approx([1.5, np.nan], nan_ok=True)
    with pytest.raises(MissingColumnsError, match="did you mean"):
        predictor.predict(frame({"a": [1], "bb": [2]}))


@pytest.mark.parametrize("rows", [np.zeros((2, 2)), [{"a": 1}], "a"])
def test_what_has_no_columns_is_refused(rows: Any) -> None:
    with pytest.raises(InputError, match="neither a row nor columns"):
        scalar_predictor(Column("a", "float64"), "float64").predict(rows)


def test_no_rows_give_no_answers() -> None:
    outputs = scalar_predictor(Column("x", "float64"), "float32").predict({"x": np.zeros(0)})
    assert outputs["prediction"].shape == (0,)
    assert outputs["prediction"].dtype == np.float32


def test_a_column_that_already_fits_is_not_copied() -> None:
    seen: list[Any] = []
    predictor = scalar_predictor(Column("x", "float64"), "float64")

    class Spy:
        def run(self, feeds: Any) -> dict[str, Any]:
            seen.append(feeds["t"])
            return {"out_t": feeds["t"]}

    values = np.arange(3.0)
    Predictor(predictor.signature, Spy()).predict({"x": values})
    assert seen[0] is values


def test_padding_to_the_row_block_is_invisible() -> None:
    predictor = matrix_predictor([Column("a", "float64"), Column("b", "float64")], "float64", row_block=4)
    outputs = predictor.predict({"a": np.arange(6.0), "b": np.arange(6.0) * 2})
    assert outputs["out_a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert predictor.predict({"a": 7.0, "b": 8.0}) == {"out_a": 7.0, "out_b": 8.0}


NUMBERS = st.one_of(
    st.floats(width=64),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.integers(2**53, 2**63 - 1),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([*FLOATS, "int64", "int32", "uint8", "bool"]), min_size=1, max_size=5),
    st.sampled_from(["float32", "float64"]),
    st.data(),
)
def test_a_row_alone_and_in_a_column_are_the_same_bits_or_the_same_refusal(
    dtypes: list[str], tensor_dtype: str, data: st.DataObject
) -> None:
    columns = [Column(f"c{i}", d, nullable=data.draw(st.booleans())) for i, d in enumerate(dtypes)]
    predictor = _PREDICTORS(columns, tensor_dtype)
    row = {column.name: data.draw(NUMBERS) for column in columns}
    typed = {}
    for column in columns:
        value = row[column.name]
        single = np.empty(1, object)
        single[0] = value
        typed[column.name] = np.array([value]) if column.dtype in INTEGERS and type(value) is int else single
    assert _outcome(predictor, row) == _outcome(predictor, typed)


def _outcome(predictor: Predictor, rows: Any) -> Any:
    try:
        answers = predictor.predict(rows)
    except InputError as error:
        return str(error)
    return [np.float64(np.asarray(value).reshape(-1)[0]).tobytes() for value in answers.values()]


def _PREDICTORS(columns: list[Column], dtype: str) -> Predictor:
    return matrix_predictor(columns, dtype)


def test_a_graph_that_fails_on_rows_says_so_without_a_traceback() -> None:
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["t", "shape"], ["out_t"])],
        "fixed",
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("out_t", TensorProto.FLOAT, [3])],
        [onnx.numpy_helper.from_array(np.array([3]), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    signature = scalar_predictor(Column("x", "float64"), "float32").signature
    with pytest.raises(InputError, match="the model cannot run on these rows"):
        Predictor(signature, OnnxRuntime(model.SerializeToString())).predict({"x": np.zeros(4)})
