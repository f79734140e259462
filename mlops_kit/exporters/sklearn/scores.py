"""From the scores of classes to their probabilities and labels."""

from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.graph import row_sum
from mlops_kit.exporters.sklearn.translator import Classified, Translator
from mlops_kit.schema import Array

LAST = np.array([1], np.int64)


def label_array(classes: Any) -> Array:
    """Class labels as a constant that a graph may hold: int64, bool, float64 or text."""
    values = np.asarray(classes)
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind in "bf":
        return values
    return values.astype(object)


def labels_at(codes: str, classes: Any, t: Translator) -> str:
    """The labels at these positions; shape (rows,)."""
    flat = t.graph.add("Reshape", codes, np.array([-1], np.int64))
    values = label_array(classes)
    if np.array_equal(values, np.arange(len(values))) and values.dtype.kind == "i":
        return flat
    if values.dtype.kind == "f":  # kept in float64 whatever the graph computes in
        return t.graph.cast(t.graph.add("Gather", values, flat), "float64")
    return t.graph.add("Gather", values, flat)


def best_of(scores: str, t: Translator) -> str:
    """The position of the first of the highest scores; shape (rows, 1)."""
    return t.graph.add("ArgMax", scores, axis=1, keepdims=1)


def decided(decision: str, threshold: float, t: Translator) -> str:
    """1 where the score, shape (rows, 1), is above the threshold, else 0."""
    return t.graph.cast(t.graph.add("Greater", decision, np.array([threshold])), "int64")


def from_probability(probability: str, classes: Any, t: Translator, decision: str | None = None) -> Classified:
    """The label with the highest probability."""
    return Classified(labels_at(best_of(probability, t), classes, t), probability, decision)


def from_decision(decision: str, classes: Any, t: Translator, probability: str | None = None) -> Classified:
    """The label with the highest score; of two classes that share one, the second where it is positive."""
    codes = decided(decision, 0.0, t) if len(classes) == 2 else best_of(decision, t)
    return Classified(labels_at(codes, classes, t), probability, decision)


def pair(positive: str, t: Translator) -> str:
    """Probabilities of two classes from that of the second."""
    return t.graph.add("Concat", t.graph.add("Sub", np.array(1.0), positive), positive, axis=1)


def exponential(power: str, t: Translator) -> str:
    """The number e raised to a power.

    The runtime's Exp, Sigmoid and Softmax round float64 differently in a batch's last rows; Pow does not.
    """
    return t.graph.add("Pow", np.array(np.e), power)


def sigmoid(scores: str, t: Translator) -> str:
    """The logistic function of every score."""
    falling = t.graph.add("Pow", np.array(np.exp(-1.0)), scores)
    return t.graph.add("Reciprocal", t.graph.add("Add", falling, np.array(1.0)))


def logistic_pair(decision: str, t: Translator) -> str:
    """Probabilities of two classes from their one score."""
    return pair(sigmoid(decision, t), t)


def softmax(scores: str, classes: int, t: Translator) -> str:
    """Probabilities that share the classes' scores out."""
    highest = t.graph.add("ReduceMax", scores, LAST, keepdims=1)
    powers = exponential(t.graph.add("Sub", scores, highest), t)
    return t.graph.add("Div", powers, row_sum(powers, classes, t.graph))


def normalized(values: str, classes: int, t: Translator) -> str:
    """Every row divided by its sum; all equal where that is zero."""
    total = row_sum(values, classes, t.graph)
    is_zero = t.graph.add("Equal", total, np.array([0.0]))
    total = t.graph.add("Where", is_zero, np.array([1.0]), total)
    return t.graph.add("Where", is_zero, np.array([1.0 / classes]), t.graph.add("Div", values, total))


def mean_of(tensors: list[str], weights: Array | None, t: Translator) -> str:
    """The (weighted) mean of tensors of the same shape."""
    if weights is None:
        total = tensors[0] if len(tensors) == 1 else t.graph.add("Sum", *tensors)
        return total if len(tensors) == 1 else t.graph.add("Div", total, np.array(float(len(tensors))))
    scaled = [t.graph.add("Mul", tensor, np.array(float(w))) for tensor, w in zip(tensors, weights, strict=True)]
    return t.graph.add("Div", t.graph.add("Sum", *scaled), np.array(float(np.sum(weights))))


def constant_rows(values: Array, matrix: str, t: Translator) -> str:
    """The same numbers for every row of a matrix; shape (rows, len(values))."""
    column = t.graph.add("Gather", matrix, np.array([0], np.int64), axis=1)
    row = np.asarray(values, float).reshape(1, -1)
    return t.graph.add("Where", t.graph.add("Equal", column, column), row, row)
