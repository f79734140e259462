"""From raw scores to the answers that a framework's users know: a number, or a label with probabilities.

A row's answer must not depend on the batch that it comes in. In ONNX Runtime, the float64 kernels of Exp, Sigmoid,
Softmax and ReduceSum round differently in the last rows of a batch or in a batch of one; Pow and CumSum do not, so
the links are written with those. Its float32 Sigmoid is off by 1e-8, which is much for a rare class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_kit.exporters.graphs.building import GraphBuilder
from mlops_kit.schema import Array, Output

Link = Callable[[GraphBuilder, str, str], str]
"""Adds the nodes that turn raw scores (named by the second argument, of a dtype) into predictions."""

LABEL_DTYPES = {"i": "int64", "u": "int64", "b": "bool", "f": "float64"}


@dataclass(frozen=True, slots=True)
class Head:
    """What is made of the raw scores.

    `classes` are a classifier's labels in order; without them the scores are predictions themselves. Two
    classes have one raw score, for the second, which is the answer where its probability is above `threshold`.
    """

    link: Link
    scores: int = 1
    classes: Array | None = None
    threshold: float = 0.5

    @property
    def label_dtype(self) -> str:
        """The dtype of the labels, as the signature has it."""
        return "float32" if self.classes is None else LABEL_DTYPES.get(self.classes.dtype.kind, "string")

    @property
    def labels(self) -> list[Any]:
        """The classes as Python values."""
        return [] if self.classes is None else self.classes.tolist()


def class_labels(classes: Sequence[Any] | Array) -> Array:
    """Labels as a framework keeps them, as an array of one of the dtypes of labels."""
    labels = np.asarray(classes)
    return labels if labels.dtype.kind in LABEL_DTYPES else labels.astype(str).astype(object)


def add_outputs(graph: GraphBuilder, scores: str, head: Head, dtype: str) -> tuple[Output, ...]:
    """Add the link and the outputs of the graph."""
    answers = head.link(graph, scores, dtype)
    if head.classes is None:
        return _add_numbers(graph, answers, head.scores, dtype)
    if len(head.classes) == 2 and head.scores == 1:
        return _add_two_classes(graph, answers, head, dtype)
    label = graph.add("ArgMax", answers, axis=1, keepdims=0)
    _add_labels(graph, label, head, ["rows"])
    graph.add_output(answers, "probability", dtype, ["rows", head.scores])
    probabilities = (
        Output(f"probability_{label}", dtype, "probability", index) for index, label in enumerate(head.labels)
    )
    return (Output("prediction", head.label_dtype, "prediction"), *probabilities)


def name_outputs(head: Head, answers: Array, dtype: str) -> dict[str, Array]:
    """The framework's own predictions by the names that `add_outputs` gives; for two classes, those of the second.

    A label is the class whose probability is the largest, the first of equals, as in every one of the frameworks.
    """
    answers = answers.astype(dtype)
    if head.classes is None:
        if head.scores == 1:
            return {"prediction": answers.reshape(len(answers))}
        return {f"prediction_{index}": answers[:, index] for index in range(head.scores)}
    if answers.ndim == 1:
        chosen = (answers > head.threshold).astype(int)
        answers = np.stack([1 - answers, answers], axis=1)
    else:
        chosen = answers.argmax(axis=1)
    labels = head.classes[chosen]
    result = {"prediction": labels if labels.dtype == object else labels.astype(head.label_dtype)}
    return result | {f"probability_{label}": answers[:, i] for i, label in enumerate(head.labels)}


def identity(_graph: GraphBuilder, scores: str, _dtype: str) -> str:
    """Raw scores are the predictions."""
    return scores


def exponential(graph: GraphBuilder, scores: str, dtype: str) -> str:
    """Raise e to the power of the score."""
    if dtype == "float32":
        return graph.add("Exp", scores)
    return graph.add("Pow", graph.constant(np.e, dtype), scores)


def logistic(scale: float = 1.0) -> Link:
    """1 / (1 + e^(-scale · score)), for each score alone."""

    def link(graph: GraphBuilder, scores: str, dtype: str) -> str:
        if dtype == "float32":
            power = graph.add("Exp", graph.add("Mul", scores, graph.constant(-scale, dtype)))
        else:
            power = graph.add("Pow", graph.constant(np.exp(-scale), dtype), scores)
        return graph.add("Reciprocal", graph.add("Add", power, graph.constant(1, dtype)))

    return link


def softmax(graph: GraphBuilder, scores: str, dtype: str) -> str:
    """Probabilities that add up to one."""
    if dtype == "float32":
        return graph.add("Softmax", scores, axis=1)
    axis = graph.constant([1], "int64")
    shifted = graph.add("Sub", scores, graph.add("ReduceMax", scores, axis, keepdims=1))
    powers = exponential(graph, shifted, dtype)
    sums = graph.add("CumSum", powers, graph.constant(1, "int64"))
    return graph.add("Div", powers, graph.add("Gather", sums, graph.constant([-1], "int64"), axis=1))


def soft_plus(graph: GraphBuilder, scores: str, dtype: str) -> str:
    """log(1 + e^score)."""
    return graph.add("Log", graph.add("Add", exponential(graph, scores, dtype), graph.constant(1, dtype)))


def signed_square(graph: GraphBuilder, scores: str, _dtype: str) -> str:
    """The inverse of the signed square root."""
    return graph.add("Mul", scores, graph.add("Abs", scores))


def step(graph: GraphBuilder, scores: str, dtype: str) -> str:
    """One where the score is positive, else zero."""
    return graph.cast(graph.add("Greater", scores, graph.constant(0, dtype)), dtype)


def divided(link: Link, divisor: float) -> Link:
    """The link of a model that averages its trees."""

    def averaged(graph: GraphBuilder, scores: str, dtype: str) -> str:
        return link(graph, graph.add("Div", scores, graph.constant(divisor, dtype)), dtype)

    return averaged


def _add_numbers(graph: GraphBuilder, answers: str, count: int, dtype: str) -> tuple[Output, ...]:
    graph.add_output(answers, "prediction", dtype, ["rows", count])
    if count == 1:
        return (Output("prediction", dtype, "prediction"),)
    return tuple(Output(f"prediction_{index}", dtype, "prediction", index) for index in range(count))


def _add_two_classes(graph: GraphBuilder, answers: str, head: Head, dtype: str) -> tuple[Output, ...]:
    second = graph.add("Greater", answers, graph.constant(head.threshold, dtype))
    _add_labels(graph, graph.cast(second, "int64"), head, ["rows", 1])
    names = [f"probability_{label}" for label in head.labels]
    first = graph.add("Sub", graph.constant(1, dtype), answers)
    graph.add_output(first, names[0], dtype, ["rows", 1])
    graph.add_output(answers, names[1], dtype, ["rows", 1])
    return (Output("prediction", head.label_dtype, "prediction"), *(Output(name, dtype, name) for name in names))


def _add_labels(graph: GraphBuilder, positions: str, head: Head, shape: Sequence[int | str]) -> None:
    if head.label_dtype != "int64" or head.labels != list(range(len(head.labels))):
        positions = graph.add("Gather", graph.constant(head.labels, head.label_dtype), positions)
    graph.add_output(positions, "prediction", head.label_dtype, shape)
