"""XGBoost: native model files (JSON and UBJSON), Booster, and the scikit-learn estimators.

The trees are converted here, not by onnxmltools: that wants features named f0, f1, …, knows no dart, no named
categories and no missing value but NaN, and is wrong for multi:softmax, reg:logistic and early-stopped forests.
"""

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mlops_kit.errors import ConversionError, MissingExtraError, SourceError
from mlops_kit.exporters.graphs.building import GraphBuilder
from mlops_kit.exporters.interface import Conversion, Sample, SourceModel
from mlops_kit.exporters.trees import outputs as links
from mlops_kit.exporters.trees.inputs import (
    Feature,
    category_column,
    match_names,
    number_column,
    set_missing_value,
    truncate,
)
from mlops_kit.exporters.trees.model import Prepare, TreeModel, convert
from mlops_kit.exporters.trees.outputs import Head, class_labels, name_outputs
from mlops_kit.exporters.xgboost.model_json import (
    DTYPE,
    EXPONENTIAL,
    ModelJson,
    categorical_features,
    feature_categories,
    read_trees,
)
from mlops_kit.exporters.xgboost.ubjson import check_ubjson
from mlops_kit.schema import FLOATS, Array, Columns

PLAIN = frozenset(
    {
        "reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:linear",
        "reg:quantileerror", "rank:pairwise", "rank:ndcg", "rank:map", "binary:logitraw",
    }
)  # fmt: skip
CLASSIFYING = frozenset({"binary:logistic", "binary:hinge", "multi:softprob", "multi:softmax"})
JSON_HEAD = re.compile(rb'\s*\{\s*"(learner|version)"\s*:')
OLD_BINARY_HEADS = (b"binf", b"bs64")


@dataclass(frozen=True, slots=True)
class _Source:
    """The model in memory and what it takes to predict with it as its users do."""

    model: Any
    booster: Any
    is_estimator: bool
    text: ModelJson
    iterations: int
    missing: float
    """The number that means missing; NaN where there is none."""


def recognises(model: object) -> bool:
    """A Booster, or an estimator of xgboost.sklearn."""
    kinds = {(kind.__module__, kind.__name__) for kind in type(model).__mro__}
    return bool(kinds & {("xgboost.core", "Booster"), ("xgboost.sklearn", "XGBModel")})


def recognises_file(path: Path, head: bytes) -> bool:  # noqa: ARG001 - part of the interface
    """JSON or UBJSON with a learner inside, or XGBoost's former binary format."""
    if head.startswith(OLD_BINARY_HEADS):
        return True
    return (JSON_HEAD.match(head) is not None or head.startswith(b"{L")) and b"learner" in head


def read(path: Path) -> object:
    """Read a model file: as the estimator that it was saved from, else as a Booster. Raises SourceError."""
    xgboost = _import_xgboost()
    content = path.read_bytes()
    if content.startswith(OLD_BINARY_HEADS):
        raise SourceError(
            f"{path}: XGBoost's binary format, which it gave up in version 3.1",
            "mlkit reads the JSON and UBJSON that followed it",
            "load it with the XGBoost that wrote it, and save it as model.json",
        )
    try:
        check_ubjson(content) if content.startswith(b"{L") else json.loads(content)
        with contextlib.redirect_stdout(sys.stderr):
            booster = xgboost.Booster(model_file=bytearray(content))
            kind = json.loads(booster.attr("scikit_learn") or "{}").get("_estimator_type")
            estimators = {"classifier": "XGBClassifier", "regressor": "XGBRegressor", "ranker": "XGBRanker"}
            if kind not in estimators:
                return booster
            model = getattr(xgboost, estimators[kind])()
            model.load_model(bytearray(content))
            return model
    except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
        raise SourceError(
            f"{path}: XGBoost cannot read the model", _first_line(error), "save the model again"
        ) from error


def adapt(model: object, sample: Sample | None) -> SourceModel:
    """See `Exporter.adapt`."""
    _import_xgboost()
    source = _look_at(model)
    features = _features(source, sample)
    head = _head(source)
    name, objective = type(model).__name__, source.text.objective
    return SourceModel(
        framework="XGBoost",
        versions={"xgboost": version("xgboost")},
        description=f"{name}({source.iterations} iterations, objective {objective}, {len(features)} features)",
        columns=tuple(feature.column for feature in features),
        reference=_reference(source, features, head),
        conversions=lambda: _conversions(source, features, head),
    )


def _look_at(model: Any) -> _Source:
    is_estimator = hasattr(model, "get_booster")
    if is_estimator and not model.__sklearn_is_fitted__():
        raise SourceError(f"the {type(model).__name__} is not fitted", fix="call fit before exporting it")
    booster = model.get_booster() if is_estimator else model
    text = ModelJson(json.loads(bytes(booster.save_raw("json")))["learner"])
    missing = getattr(model, "missing", None) if is_estimator else None
    best = getattr(model, "best_iteration", None) if is_estimator else None
    iterations = text.iterations if best is None else min(best + 1, text.iterations)
    return _Source(model, booster, is_estimator, text, iterations, np.nan if missing is None else float(missing))


def _conversions(source: _Source, features: Sequence[Feature], head: Head) -> Iterator[Conversion]:
    trees = read_trees(source.text, source.iterations)
    yield convert(TreeModel(features, trees, head, DTYPE, DTYPE, "<", _prepare(source, features)))


def _prepare(source: _Source, features: Sequence[Feature]) -> Prepare:
    fractional = [
        index
        for index in sorted(categorical_features(source.text))
        if features[index].categories is None and features[index].column.dtype in FLOATS
    ]

    def prepare(graph: GraphBuilder, matrix: str, positions: Array) -> str:
        if not np.isnan(source.missing):
            matrix = set_missing_value(graph, matrix, source.missing, DTYPE)
        if fractional:
            matrix = truncate(graph, matrix, positions[fractional].tolist(), len(features), DTYPE)
        return matrix

    return prepare


def _head(source: _Source) -> Head:
    objective, scores = source.text.objective, source.text.scores
    is_classifier = objective in CLASSIFYING or hasattr(source.model, "predict_proba")
    if is_classifier and scores > 1 and not source.text.classes:
        raise ConversionError(
            "the model gives several labels to a row", f"it has {scores} targets", "train one model per label"
        )
    if not is_classifier:
        return Head(_link(objective), scores)
    classes = source.model.classes_ if source.is_estimator else range(max(2, scores))
    return Head(_link(objective), scores, class_labels(np.asarray(classes)))


def _link(objective: str) -> links.Link:
    if objective in PLAIN:
        return links.identity
    if objective in EXPONENTIAL:
        return links.exponential
    known = {
        "binary:logistic": links.logistic(), "reg:logistic": links.logistic(), "binary:hinge": links.step,
        "multi:softprob": links.softmax, "multi:softmax": links.softmax,
    }  # fmt: skip
    if objective not in known:
        raise ConversionError(
            f"unknown XGBoost objective {objective!r}", "mlkit does not know what follows its raw scores"
        )
    return known[objective]


def _features(source: _Source, sample: Sample | None) -> list[Feature]:
    own = source.booster.feature_names
    names = match_names(own or [f"f{index}" for index in range(source.text.feature_count)], sample, own is None)
    categories = feature_categories(source.text)
    for index in categorical_features(source.text) - set(categories):
        if sample is not None and sample.columns[names[index]].dtype == object:
            raise ConversionError(
                f"the model does not know the categories of {names[index]!r}, only their codes",
                "XGBoost stores categories since 3.1",
                "train with XGBoost 3.1 or later, or export with a sample that has the codes",
            )
    return [
        Feature(category_column(name, categories[index], sample), categories[index])
        if index in categories
        else Feature(number_column(name, sample, DTYPE))
        for index, name in enumerate(names)
    ]


def _reference(source: _Source, features: Sequence[Feature], head: Head) -> Callable[[Columns], Columns]:
    def reference(columns: Columns) -> Columns:
        rows = _rows(source, features, columns)
        with contextlib.redirect_stdout(sys.stderr):
            answers = _ask_estimator(source, head, rows) if source.is_estimator else _ask_booster(source, rows)
        return name_outputs(head, answers, DTYPE)

    return reference


def _ask_estimator(source: _Source, head: Head, rows: Any) -> Array:
    if head.classes is None:
        return np.asarray(source.model.predict(rows))
    answers = np.asarray(source.model.predict_proba(rows))
    return answers[:, 1] if head.scores == 1 else answers


def _ask_booster(source: _Source, rows: Any) -> Array:
    xgboost = _import_xgboost()
    names, types = source.booster.feature_names, source.booster.feature_types
    if hasattr(rows, "columns"):
        matrix = xgboost.DMatrix(rows, enable_categorical=True)
    else:
        matrix = xgboost.DMatrix(rows, feature_names=names, feature_types=types)
    if source.text.objective != "multi:softmax":
        return np.asarray(source.booster.predict(matrix))
    # Booster.predict gives the label alone; the probabilities are those of multi:softprob.
    margins = source.booster.predict(matrix, output_margin=True)
    powers = np.exp(margins - margins.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _rows(source: _Source, features: Sequence[Feature], columns: Columns) -> Any:
    """What XGBoost predicts on: a matrix, or a pandas frame where there are named categories."""
    if all(feature.categories is None for feature in features):
        return np.stack([columns[feature.column.name].astype(np.float64) for feature in features], axis=1)
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("pandas", "xgboost", "a model with categories") from error
    data = {}
    names = source.booster.feature_names or range(len(features))
    for name, feature in zip(names, features, strict=True):
        values = columns[feature.column.name]
        data[name] = values if feature.categories is None else _codes(feature, values)
    return pd.DataFrame(data)


def _codes(feature: Feature, values: Array) -> Any:
    """Raises ValueError for an unseen category, as XGBoost means to.

    XGBoost 3.2 refuses it only where it sorts behind all the others, and else takes the next one for it.
    """
    import pandas as pd

    codes = pd.Categorical(values, feature.categories)
    if (codes.isna() != pd.isna(values)).any():
        raise ValueError(f"a category of {feature.column.name!r} is not in the training set")
    return codes


def _first_line(error: Exception) -> str:
    """XGBoost's messages begin with the time and the place in its source."""
    return re.sub(r"^\[[^]]*\] \S+ (Check failed: )?", "", str(error).strip().split("\n", 1)[0])


def _import_xgboost() -> Any:
    try:
        import xgboost
    except ImportError as error:
        raise MissingExtraError("xgboost", "xgboost", "an XGBoost model") from error
    return xgboost
