"""Boosted trees of other libraries inside of a pipeline: their exporters' graphs are spliced in."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from mlops_kit.exporters.catboost import exporter as catboost
from mlops_kit.exporters.interface import Conversion
from mlops_kit.exporters.lightgbm import exporter as lightgbm
from mlops_kit.exporters.sklearn.blocks import Frame, is_sparse, width_of
from mlops_kit.exporters.sklearn.translator import Classified, Translator
from mlops_kit.exporters.xgboost import exporter as xgboost
from mlops_kit.schema import Output

EXPORTERS: Mapping[str, Any] = {"catboost": catboost, "lightgbm": lightgbm, "xgboost": xgboost}


def predict_boosted(model: Any, frame: Frame, t: Translator) -> str:
    """A regressor or ranker."""
    answers = _spliced(model, frame, t)
    columns = [tensor for name, tensor in answers.items() if name.startswith("prediction")]
    return t.graph.add("Concat", *columns, axis=1) if len(columns) > 1 else columns[0]


def classify_boosted(model: Any, frame: Frame, t: Translator) -> Classified:
    """A classifier."""
    answers = _spliced(model, frame, t)
    shares = [tensor for name, tensor in answers.items() if name.startswith("probability_")]
    label = t.graph.add("Reshape", answers["prediction"], np.array([-1], np.int64))
    return Classified(label, t.graph.add("Concat", *shares, axis=1))


def _spliced(model: Any, frame: Frame, t: Translator) -> dict[str, str]:
    """The booster's outputs by name; numbers have shape (rows, 1)."""
    width = width_of(frame)
    matrix = t.matrix(model, frame)
    if is_sparse(frame) and type(model).__module__.startswith("xgboost"):
        is_absent = t.graph.add("Equal", matrix, np.array([0.0]))
        matrix = t.graph.add("Where", is_absent, np.array([np.nan]), matrix)
    conversion = _convert(model, width, t)
    (tensor,) = conversion.signature.tensors
    if tensor.dtype != t.graph.dtype.name:
        matrix = t.graph.cast(matrix, tensor.dtype)
    graph: onnx.GraphProto = conversion.graph.graph
    names = [output.name for output in graph.output]
    made = dict(zip(names, t.graph.splice(graph, {tensor.name: matrix}), strict=True))
    return {output.name: _column(output, made[output.tensor], t) for output in conversion.signature.outputs}


def _convert(model: Any, width: int, t: Translator) -> Conversion:
    exporter = EXPORTERS[type(model).__module__.partition(".")[0]]
    source = exporter.adapt(model, None)
    if len(source.columns) != width or any(column.dtype == "string" for column in source.columns):
        raise t.refusal(model, "it was trained on categories of its own", "encode them in a step before it")
    conversion: Conversion = next(iter(source.conversions()))
    return conversion


def _column(output: Output, tensor: str, t: Translator) -> str:
    if output.index is not None:
        tensor = t.graph.add("Gather", tensor, np.array([output.index], np.int64), axis=1)
    if output.dtype in ("float32", "float64") and output.dtype != t.graph.dtype.name:
        return t.graph.cast(tensor)
    return tensor


REGRESSORS: Mapping[str, Callable[[Any, Frame, Translator], str]] = dict.fromkeys(
    ("CatBoostRegressor", "LGBMRanker", "LGBMRegressor", "XGBRanker", "XGBRFRegressor", "XGBRegressor"),
    predict_boosted,
)
CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], Classified]] = dict.fromkeys(
    ("CatBoostClassifier", "LGBMClassifier", "XGBClassifier", "XGBRFClassifier"), classify_boosted
)
