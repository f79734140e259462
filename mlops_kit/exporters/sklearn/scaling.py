"""Scalers and other transformers of numbers, in the order of operations that scikit-learn uses."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Frame, split, width_of
from mlops_kit.exporters.sklearn.graph import row_sum
from mlops_kit.exporters.sklearn.translator import Translator, numbers


def scale_standard(model: Any, frame: Frame, t: Translator) -> Frame:
    """StandardScaler."""
    x = t.matrix(model, frame)
    if model.with_mean:
        x = t.graph.add("Sub", x, model.mean_)
    if model.scale_ is not None:
        x = t.graph.add("Div", x, model.scale_)
    return numbers(x, width_of(frame))


def scale_robust(model: Any, frame: Frame, t: Translator) -> Frame:
    """RobustScaler."""
    x = t.matrix(model, frame)
    if model.with_centering:
        x = t.graph.add("Sub", x, model.center_)
    if model.with_scaling:
        x = t.graph.add("Div", x, model.scale_)
    return numbers(x, width_of(frame))


def scale_min_max(model: Any, frame: Frame, t: Translator) -> Frame:
    """MinMaxScaler."""
    x = t.graph.add("Add", t.graph.add("Mul", t.matrix(model, frame), model.scale_), model.min_)
    if model.clip:
        low, high = (np.array(float(bound)) for bound in model.feature_range)
        x = t.graph.add("Clip", x, low, high)
    return numbers(x, width_of(frame))


def scale_max_abs(model: Any, frame: Frame, t: Translator) -> Frame:
    """MaxAbsScaler."""
    x = t.graph.add("Div", t.matrix(model, frame), model.scale_)
    if getattr(model, "clip", False):
        x = t.graph.add("Clip", x, np.array(-1.0), np.array(1.0))
    return numbers(x, width_of(frame))


def normalize(model: Any, frame: Frame, t: Translator) -> Frame:
    """Normalizer."""
    return numbers(divide_by_length(t.matrix(model, frame), width_of(frame), model.norm, t), width_of(frame))


def divide_by_length(x: str, width: int, norm: str, t: Translator) -> str:
    """Every row divided by its own length; a row of zeros stays."""
    length = _length(x, width, norm, t)
    is_zero = t.graph.add("Equal", length, np.array([0.0]))
    return t.graph.add("Div", x, t.graph.add("Where", is_zero, np.array([1.0]), length))


def _length(x: str, width: int, norm: str, t: Translator) -> str:
    if norm == "l2":
        return t.graph.add("Sqrt", row_sum(t.graph.add("Mul", x, x), width, t.graph))
    sizes = t.graph.add("Abs", x)
    if norm == "l1":
        return row_sum(sizes, width, t.graph)
    return t.graph.add("ReduceMax", sizes, np.array([1], np.int64), keepdims=1)


def binarize(model: Any, frame: Frame, t: Translator) -> Frame:
    """Binarizer."""
    above = t.graph.add("Greater", t.matrix(model, frame), np.array(float(model.threshold)))
    return numbers(t.graph.cast(above), width_of(frame))


def expand_polynomial(model: Any, frame: Frame, t: Translator) -> Frame:
    """PolynomialFeatures: products of the columns, each taken as often as its power says."""
    x = t.matrix(model, frame)
    powers = model.powers_
    ones = t.graph.add("Add", t.graph.add("Mul", _column(x, 0, t), np.array(0.0)), np.array(1.0))
    with_one = t.graph.add("Concat", x, ones, axis=1)
    degree = int(powers.sum(axis=1).max(initial=0))
    factors = np.full((len(powers), max(degree, 1)), powers.shape[1], np.int64)
    for row, power in enumerate(powers):
        chosen = np.repeat(np.arange(len(power)), power)
        factors[row, : len(chosen)] = chosen
    product = t.graph.add("Gather", with_one, factors[:, 0], axis=1)
    for k in range(1, factors.shape[1]):
        product = t.graph.add("Mul", product, t.graph.add("Gather", with_one, factors[:, k], axis=1))
    return numbers(product, len(powers))


def bin_columns(model: Any, frame: Frame, t: Translator) -> Frame:
    """KBinsDiscretizer: how many inner edges a value has reached."""
    made: list[str] = []
    for column, edges, bins in zip(split(frame, t.graph), model.bin_edges_, model.n_bins_, strict=True):
        reached = t.graph.cast(
            t.graph.add("GreaterOrEqual", column.tensor, np.asarray(edges[1:-1], float).reshape(1, -1))
        )
        code = row_sum(reached, len(edges) - 2, t.graph)
        if model.encode != "ordinal":
            code = t.graph.cast(t.graph.add("Equal", code, np.arange(float(bins)).reshape(1, -1)))
        made.append(code)
    width = len(made) if model.encode == "ordinal" else int(np.sum(model.n_bins_))
    return numbers(t.graph.add("Concat", *made, axis=1), width)


def _column(x: str, index: int, t: Translator) -> str:
    return t.graph.add("Gather", x, np.array([index], np.int64), axis=1)


TRANSFORMERS: Mapping[str, Callable[[Any, Frame, Translator], Frame]] = {
    "Binarizer": binarize,
    "KBinsDiscretizer": bin_columns,
    "MaxAbsScaler": scale_max_abs,
    "MinMaxScaler": scale_min_max,
    "Normalizer": normalize,
    "PolynomialFeatures": expand_polynomial,
    "RobustScaler": scale_robust,
    "StandardScaler": scale_standard,
}
