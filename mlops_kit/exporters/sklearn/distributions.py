"""Transformers that change the distribution of a column: powers and quantiles."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Frame, split, width_of
from mlops_kit.exporters.sklearn.graph import GraphBuilder, Operand, row_sum
from mlops_kit.exporters.sklearn.scaling import scale_standard
from mlops_kit.exporters.sklearn.translator import Translator, numbers
from mlops_kit.schema import Array

ONE = np.array(1.0)
MARGIN = 1e-7
"""On the way to a normal distribution, a value so close to the first or last quantile counts as that."""


def transform_power(model: Any, frame: Frame, t: Translator) -> Frame:
    """PowerTransformer."""
    x, powers = t.matrix(model, frame), np.asarray(model.lambdas_, float).reshape(1, -1)
    if model.method == "box-cox":
        x = _box_cox(x, powers, t.graph)
    else:
        is_negative = t.graph.add("Less", x, np.array(0.0))
        size = t.graph.add("Add", t.graph.add("Abs", x), ONE)
        below = t.graph.add("Neg", _box_cox(size, 2.0 - powers, t.graph))
        x = t.graph.add("Where", is_negative, below, _box_cox(size, powers, t.graph))
    made = numbers(x, width_of(frame))
    return scale_standard(model._scaler, made, t) if model.standardize else made


def _box_cox(x: str, powers: Array, g: GraphBuilder) -> str:
    """(x^p - 1) / p, and log(x) where p is zero."""
    is_zero = np.abs(powers) < np.finfo(np.float64).eps
    safe = np.where(is_zero, 1.0, powers)
    raised = g.add("Div", g.add("Sub", g.add("Pow", x, safe), ONE), safe)
    return g.add("Where", is_zero, g.add("Log", x), raised) if is_zero.any() else raised


def transform_quantiles(model: Any, frame: Frame, t: Translator) -> Frame:
    """QuantileTransformer, to a uniform or a normal distribution."""
    references, is_normal = np.asarray(model.references_, float), model.output_distribution == "normal"
    made = [
        _rank(column.tensor, np.asarray(quantiles, float), references, MARGIN if is_normal else 0.0, t.graph)
        for column, quantiles in zip(split(frame, t.graph), model.quantiles_.T, strict=True)
    ]
    x = t.graph.add("Concat", *made, axis=1) if len(made) > 1 else made[0]
    return numbers(_normal_quantile(x, t.graph) if is_normal else x, len(made))


def _rank(x: str, quantiles: Array, references: Array, margin: float, g: GraphBuilder) -> str:
    """Where a value lies among the quantiles; among equal ones, the mean of both ends."""
    inside = g.add("Min", g.add("Max", x, quantiles[:1]), quantiles[-1:])
    row, last = quantiles.reshape(1, -1), np.array(len(quantiles) - 2, np.int64)
    made: list[Operand] = []
    for operator in ("GreaterOrEqual", "Greater"):
        passed = row_sum(g.cast(g.add(operator, inside, row)), len(quantiles), g)
        place = g.add("Clip", g.cast(g.add("Sub", passed, ONE), "int64"), np.array(0, np.int64), last)
        made.append(_interpolated(inside, place, quantiles, references, g))
    mean = g.add("Mul", g.add("Add", *made), np.array(0.5))
    is_high = g.add("GreaterOrEqual", x, quantiles[-1:] - margin)
    is_low = g.add("LessOrEqual", x, quantiles[:1] + margin)
    return g.add("Where", is_low, np.array([[0.0]]), g.add("Where", is_high, np.array([[1.0]]), mean))


def _interpolated(x: str, place: str, knots: Array, values: Array, g: GraphBuilder) -> str:
    steps = np.diff(knots)
    slopes = np.where(steps > 0, np.diff(values) / np.where(steps > 0, steps, 1.0), 0.0)
    risen = g.add("Mul", g.add("Sub", x, g.add("Gather", knots[:-1], place)), g.add("Gather", slopes, place))
    return g.add("Add", risen, g.add("Gather", values[:-1], place))


# Coefficients of PPND16: Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", 1988.
CENTRE = (
    (3.3871328727963666080, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
NEAR = (
    (1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504,
     1.27045825245236838258, 2.4178072517745061177e-1, 2.27238449892691845833e-2, 7.7454501427834140764e-4),
    (1.0, 2.05319162663775882187, 1.6763848301838038494, 6.8976733498510000455e-1,
     1.4810397642748007459e-1, 1.51986665636164571966e-2, 5.475938084995344946e-4, 1.05075007164441684324e-9),
)  # fmt: skip


def _normal_quantile(p: str, g: GraphBuilder) -> str:
    """The inverse of the normal distribution, cut off at ±5.2 as scikit-learn does."""
    limit = 5.19933758270342
    q = g.add("Sub", p, np.array(0.5))
    inner = g.add("Sub", np.array(0.180625), g.add("Mul", q, q))
    middle = g.add("Mul", q, _ratio(inner, CENTRE, g))
    tail = g.add("Max", g.add("Sub", np.array(0.5), g.add("Abs", q)), np.array(1e-9))
    r = g.add("Sub", g.add("Sqrt", g.add("Neg", g.add("Log", tail))), np.array(1.6))
    outer = g.add("Mul", g.add("Sign", q), _ratio(r, NEAR, g))
    is_middle = g.add("LessOrEqual", g.add("Abs", q), np.array(0.425))
    made = g.add("Where", is_middle, middle, outer)
    return g.add("Clip", made, np.array(-limit), np.array(limit))


def _ratio(x: str, coefficients: tuple[tuple[float, ...], tuple[float, ...]], g: GraphBuilder) -> str:
    above, below = (_polynomial(x, row, g) for row in coefficients)
    return g.add("Div", above, below)


def _polynomial(x: str, coefficients: tuple[float, ...], g: GraphBuilder) -> str:
    value: Operand = np.array(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = g.add("Add", g.add("Mul", value, x), np.array(coefficient))
    return str(value)


TRANSFORMERS: Mapping[str, Callable[[Any, Frame, Translator], Frame]] = {
    "PowerTransformer": transform_power,
    "QuantileTransformer": transform_quantiles,
}
