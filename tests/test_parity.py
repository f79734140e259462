from typing import Any

import numpy as np
import pytest

from mlops_kit.parity import compare, find_row_block, numeric_errors
from mlops_kit.predictor import Predictor
from mlops_kit.schema import Column, Output, Signature, Tensor

NAN, INF = np.nan, np.inf
ERRORS = [
    ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0, 0, 0]),
    ([100.0, 0.0], [101.0, 0.001], [1 / 150, 0.001 / 50]),
    ([NAN, INF, -INF], [NAN, INF, -INF], [0, 0, 0]),
    ([NAN, 1.0, INF], [1.0, NAN, -INF], [INF, INF, INF]),
    ([0.0, 0.0], [0.0, 0.5], [0, 0.5]),
    ([], [], []),
    ([1, 2], [1.0, 2.0], [0, 0]),
]


@pytest.mark.parametrize(("want", "got", "errors"), ERRORS)
def test_errors_are_relative_to_the_outputs_size(want: list[float], got: list[float], errors: list[float]) -> None:
    assert numeric_errors(np.array(want, float), np.array(got)).tolist() == pytest.approx(errors)


def test_the_worst_value_of_a_row_counts() -> None:
    want = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert numeric_errors(want, np.array([[1.0, 1.2], [1.0, 1.0]])).tolist() == pytest.approx([0.1, 0])


def test_a_flipped_label_is_an_error_without_measure() -> None:
    comparison = compare({"y": np.array(["a", "b"], object)}, {"y": np.array(["a", "c"], object)}, 1e-4)
    assert comparison.flipped_labels == 1
    assert (comparison.worst_row, comparison.worst_output, comparison.largest_error) == (1, "y", 0.0)
    assert not comparison.is_within(1e-4)


def test_whole_numbers_and_fractions_are_compared_by_size() -> None:
    assert compare({"y": np.array([12])}, {"y": np.array([12.0000001])}, 1e-4).is_within(1e-4)
    assert not compare({"y": np.array([12])}, {"y": np.array(["12"], object)}, 1e-4).is_within(1e-4)
    assert not compare({"y": np.zeros((2, 3))}, {"y": np.zeros((2, 4))}, 1e-4).is_within(1e-4)


def test_a_flip_between_equal_probabilities_is_excused() -> None:
    want = {
        "prediction": np.array([0, 0]),
        "probability_0": np.array([0.500001, 0.9]),
        "probability_1": np.array([0.499999, 0.1]),
    }
    got = {**want, "prediction": np.array([1, 0])}
    assert compare(want, got, 1e-4).flipped_labels == 0
    assert compare(want, {**want, "prediction": np.array([1, 1])}, 1e-4).flipped_labels == 1


class RoundsDifferentlyInTheTail:
    """Rows beyond the last multiple of four get other last bits, as vectorised kernels may do."""

    def run(self, feeds: Any) -> dict[str, Any]:
        values = feeds["t"].copy()
        tail = len(values) % 4
        if tail:
            values[-tail:] = np.nextafter(values[-tail:], np.inf)
        return {"y": values}


class CountsItsRows:
    def run(self, feeds: Any) -> dict[str, Any]:
        return {"y": feeds["t"] + len(feeds["t"])}


SIGNATURE = Signature(
    (Column("x", "float64"),), (Tensor("t", "float64", ("x",), "array"),), (Output("y", "float64", "y"),)
)


@pytest.mark.parametrize(("runtime", "block"), [(RoundsDifferentlyInTheTail(), 4), (CountsItsRows(), None)])
def test_the_row_block_makes_answers_independent_of_the_batch(runtime: Any, block: int | None) -> None:
    rows = {"x": np.linspace(0, 1, 300)}
    assert find_row_block(lambda size: Predictor(SIGNATURE, runtime, size), rows, (1, 2, 4, 8)) == block
