"""Which conversion is taken, and what is refused; with a model of two columns that stands for any framework."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlops_kit.errors import ConversionError, ParityError, SampleError
from mlops_kit.exporters.interface import Conversion, Sample, SourceModel
from mlops_kit.exporters.reference import Reference, reference_rows
from mlops_kit.exporters.trial import Trial, choose_conversion
from mlops_kit.schema import Column, Columns, Output, Signature, Tensor

COLUMNS = (Column("a", "float64", nullable=True), Column("b", "float64", nullable=True))
SAMPLE = Sample({"a": np.linspace(1, 2, 20), "b": np.linspace(-1, 1, 20)})


def total(nodes: list[onnx.NodeProto] | None = None, variant: str = "sum") -> Conversion:
    """prediction = a + b, or what `nodes` make of the inputs a and b."""
    nodes = nodes or [helper.make_node("Add", ["a", "b"], ["prediction"])]
    graph = helper.make_graph(
        nodes,
        "total",
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["rows"]) for name in "ab"],
        [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, ["rows"])],
        [
            helper.make_tensor("zero", TensorProto.DOUBLE, [], [0.0]),
            helper.make_tensor("three", TensorProto.INT64, [1], [3]),
        ],
    )
    signature = Signature(
        COLUMNS,
        tuple(Tensor(name, "float64", (name,), "array") for name in "ab"),
        (Output("prediction", "float64", "prediction"),),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return Conversion(model, signature, variant)


DIFFERENCE = total([helper.make_node("Sub", ["a", "b"], ["prediction"])], "difference")
FIXED_BATCH = total(
    [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Reshape", ["s", "three"], ["prediction"])]
)
INVALID = total([helper.make_node("NoSuchOperator", ["a", "b"], ["prediction"])])
NAN_AS_ZERO = total(
    [
        helper.make_node("IsNaN", ["a"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "a"], ["filled"]),
        helper.make_node("Add", ["filled", "b"], ["prediction"]),
    ]
)


def add(rows: Columns) -> dict[str, Any]:
    return {"prediction": rows["a"] + rows["b"]}


def source(*conversions: Conversion, reference: Callable[[Columns], Columns] = add) -> SourceModel:
    return SourceModel("by hand", {}, "a sum", COLUMNS, reference, lambda: iter(conversions))


def attempt(
    model: SourceModel, sample: Sample | None = SAMPLE, tolerance: float = 1e-4
) -> tuple[Reference, Trial]:
    reference = reference_rows(model, sample)
    return reference, choose_conversion(model, reference, tolerance)


def test_the_first_conversion_that_answers_alike_is_taken() -> None:
    _, trial = attempt(source(DIFFERENCE, INVALID, total(), total(variant="another")))
    assert trial.conversion.variant == "sum"
    assert trial.parity.largest_error == 0


REFUSED = [
    (
        (DIFFERENCE,),
        ParityError,
        r"differently in \d+ of \d+ rows.* in .b. .a=1.0, b=-3.0.: prediction is 4.0 and the original gives -2.0",
    ),
    ((INVALID,), ConversionError, "does not load"),
    ((FIXED_BATCH,), ConversionError, "does not load|does not run"),
    ((), ConversionError, "no ONNX form for a sum"),
]


@pytest.mark.parametrize(("conversions", "error", "message"), REFUSED)
def test_without_a_faithful_conversion_there_is_none(
    conversions: tuple[Conversion, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        attempt(source(*conversions))


def test_the_tolerance_decides() -> None:
    def nearly(rows: Columns) -> dict[str, Any]:
        return {"prediction": (rows["a"] + rows["b"]) * 1.001}

    attempt(source(total(), reference=nearly), tolerance=1e-2)
    with pytest.raises(ParityError, match=r"tolerance 0\.0001"):
        attempt(source(total(), reference=nearly))


def test_what_only_made_up_rows_show_is_found() -> None:
    def clipped(rows: Columns) -> dict[str, Any]:
        return {"prediction": np.minimum(rows["a"], 2.5) + rows["b"]}

    with pytest.raises(ParityError, match="a made-up row with values above the sample's range in 'a'"):
        attempt(source(total(), reference=clipped))


def test_missing_values_that_the_original_refuses_are_refused() -> None:
    def strict(rows: Columns) -> dict[str, Any]:
        if np.isnan(rows["a"]).any():
            raise ValueError("NaN in a")
        return add(rows)

    _, trial = attempt(source(total(), reference=strict))
    assert [column.nullable for column in trial.conversion.signature.columns] == [False, True]


def test_missing_values_that_the_graph_answers_differently_are_refused_with_a_note() -> None:
    _, trial = attempt(source(NAN_AS_ZERO))
    assert [column.nullable for column in trial.conversion.signature.columns] == [False, True]
    assert trial.parity.notes == ("missing values in 'a' are refused: ONNX treats them differently",)


def test_missing_values_of_the_sample_itself_must_agree() -> None:
    sample = Sample({**SAMPLE.columns, "a": np.array([np.nan, *range(19)])})
    with pytest.raises(ParityError):
        attempt(source(NAN_AS_ZERO), sample)


def test_a_note_says_what_the_original_refuses_and_the_graph_answers() -> None:
    def positive(rows: Columns) -> dict[str, Any]:
        if (rows["a"] <= 0).any():
            raise ValueError("logarithm of nothing")
        return add(rows)

    _, trial = attempt(source(total(), reference=positive))
    assert "the original refuses zero in 'a'; the exported model answers" in trial.parity.notes


def test_a_sample_that_the_original_refuses_is_refused() -> None:
    def never(_: Columns) -> Columns:
        raise ValueError("not like this")

    with pytest.raises(SampleError, match="ValueError: not like this"):
        attempt(source(total(), reference=never))


def test_without_a_sample_rows_are_made_up_alike_each_time() -> None:
    first, _ = attempt(source(total()), sample=None)
    second, _ = attempt(source(total()), sample=None)
    assert first.rows["a"].tobytes() == second.rows["a"].tobytes()


def test_of_a_large_sample_extremes_and_missing_values_are_kept() -> None:
    values = np.ones(50_000)
    values[12_345], values[23_457], values[34_567] = -7, 9, np.nan
    sample = Sample({"a": values, "b": np.ones(50_000)})
    reference, trial = attempt(source(total()), sample)
    assert {12_345, 23_457, 34_567} <= set(reference.sample_indices.tolist())
    assert trial.parity.sample_rows < 2100
    assert len(trial.golden_rows["a"]) <= 64
