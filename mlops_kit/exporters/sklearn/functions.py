"""NumPy functions and the inverses of target transformers, as ONNX nodes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.graph import GraphBuilder
from mlops_kit.schema import Array

ONE, E = np.array(1.0), np.array(np.e)

FUNCTIONS: Mapping[str, Callable[[str, GraphBuilder], str]] = {
    "absolute": lambda x, g: g.add("Abs", x),
    "exp": lambda x, g: g.add("Pow", E, x),
    "expm1": lambda x, g: g.add("Sub", g.add("Pow", E, x), ONE),
    "log": lambda x, g: g.add("Log", x),
    "log10": lambda x, g: g.add("Div", g.add("Log", x), np.log(np.array(10.0))),
    "log1p": lambda x, g: g.add("Log", g.add("Add", x, ONE)),
    "log2": lambda x, g: g.add("Div", g.add("Log", x), np.log(np.array(2.0))),
    "negative": lambda x, g: g.add("Neg", x),
    "reciprocal": lambda x, g: g.add("Div", ONE, x),
    "sign": lambda x, g: g.add("Sign", x),
    "sqrt": lambda x, g: g.add("Sqrt", x),
    "square": lambda x, g: g.add("Mul", x, x),
    "tanh": lambda x, g: g.add("Tanh", x),
}
"""NumPy's universal functions that ONNX Runtime computes in float64 too, by their names."""


def apply_function(function: object, tensor: str, graph: GraphBuilder) -> str | None:
    """A NumPy function applied to every value; None if it is none of ours."""
    name = getattr(function, "__name__", "")
    if name not in FUNCTIONS or function is not getattr(np, name):
        return None
    return FUNCTIONS[name](tensor, graph)


def inverse_transform(transformer: Any, tensor: str, graph: GraphBuilder) -> str | None:
    """What `transformer.inverse_transform` does; None if it has no ONNX form."""
    inverse = INVERSES.get(type(transformer).__name__)
    return inverse(transformer, tensor, graph) if inverse else None


def _function(model: Any, x: str, g: GraphBuilder) -> str | None:
    if model.inverse_func is None:
        return x
    return None if model.inv_kw_args else apply_function(model.inverse_func, x, g)


def _standard(model: Any, x: str, g: GraphBuilder) -> str:
    scaled = x if model.scale_ is None else g.add("Mul", x, model.scale_)
    return g.add("Add", scaled, model.mean_) if model.with_mean else scaled


def _robust(model: Any, x: str, g: GraphBuilder) -> str:
    scaled = g.add("Mul", x, model.scale_) if model.with_scaling else x
    return g.add("Add", scaled, model.center_) if model.with_centering else scaled


def _min_max(model: Any, x: str, g: GraphBuilder) -> str:
    return g.add("Div", g.add("Sub", x, model.min_), model.scale_)


def _max_abs(model: Any, x: str, g: GraphBuilder) -> str:
    return g.add("Mul", x, model.scale_)


def _power(model: Any, x: str, g: GraphBuilder) -> str:
    """The inverse of PowerTransformer, a column at a time."""
    x = _standard(model._scaler, x, g) if model.standardize else x
    powers = np.asarray(model.lambdas_, float).reshape(1, -1)
    if model.method == "box-cox":
        return _inverse_box_cox(x, powers, g)
    above = g.add("Sub", _inverse_box_cox(x, powers, g), ONE)
    below = g.add("Sub", ONE, _inverse_box_cox(g.add("Neg", x), 2.0 - powers, g))
    return g.add("Where", g.add("Less", x, np.array(0.0)), below, above)


def _inverse_box_cox(x: str, powers: Array, g: GraphBuilder) -> str:
    is_zero = np.abs(powers) < np.finfo(np.float64).eps
    safe = np.where(is_zero, 1.0, powers)
    raised = g.add("Pow", g.add("Add", g.add("Mul", x, safe), ONE), 1.0 / safe)
    return g.add("Where", is_zero, g.add("Pow", E, x), raised) if is_zero.any() else raised


def _pipeline(model: Any, x: str, g: GraphBuilder) -> str | None:
    tensor: str | None = x
    for _, step in reversed(model.steps):
        if tensor is not None and step is not None and step != "passthrough":
            tensor = inverse_transform(step, tensor, g)
    return tensor


INVERSES: Mapping[str, Callable[[Any, str, GraphBuilder], str | None]] = {
    "FunctionTransformer": _function,
    "MaxAbsScaler": _max_abs,
    "MinMaxScaler": _min_max,
    "Pipeline": _pipeline,
    "PowerTransformer": _power,
    "RobustScaler": _robust,
    "StandardScaler": _standard,
}
