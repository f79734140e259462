"""LightGBM: native model files, Booster, and the scikit-learn estimators.

The trees are converted here, not by onnxmltools: that compares in float32, which flips rows of large integers and
of values next to a threshold; it knows no pandas categories, and gets zero_as_missing and random forests wrong.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mlops_kit.errors import ConversionError, MissingExtraError, SourceError
from mlops_kit.exporters.graphs.building import GraphBuilder
from mlops_kit.exporters.interface import Conversion, Sample, SourceModel
from mlops_kit.exporters.lightgbm.model_text import (
    ZERO,
    ModelText,
    categorical_features,
    check_model,
    parse_model,
    read_trees,
    zero_features,
)
from mlops_kit.exporters.trees import outputs as links
from mlops_kit.exporters.trees.ensemble import add_bases
from mlops_kit.exporters.trees.inputs import (
    Category,
    Feature,
    category_column,
    match_names,
    number_column,
    set_missing,
    truncate,
)
from mlops_kit.exporters.trees.model import Prepare, TreeModel, convert
from mlops_kit.exporters.trees.outputs import Head, class_labels, name_outputs
from mlops_kit.schema import FLOATS, Array, Columns

DTYPE = "float64"
PLAIN = frozenset(
    {"", "custom", "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"}
)
CLASSIFYING = frozenset({"binary", "multiclass", "multiclassova"})


def recognises(model: object) -> bool:
    """A Booster, or an estimator of lightgbm.sklearn."""
    kinds = {(kind.__module__, kind.__name__) for kind in type(model).__mro__}
    return bool(kinds & {("lightgbm.basic", "Booster"), ("lightgbm.sklearn", "LGBMModel")})


def recognises_file(path: Path, head: bytes) -> bool:  # noqa: ARG001 - part of the interface
    """The text that `save_model` writes, or the JSON that `dump_model` gives."""
    return head.replace(b"\r", b"").startswith(b"tree\nversion=") or _is_dump(head)


def read(path: Path) -> object:
    """Read a model file. Raises SourceError."""
    lightgbm = _import_lightgbm()
    content = path.read_bytes().replace(b"\r\n", b"\n")
    if _is_dump(content):
        raise SourceError(
            f"{path}: a dump of a LightGBM model",
            "LightGBM cannot read dumps back",
            "save it with booster.save_model",
        )
    try:
        text = content.decode("utf-8")
        check_model(text)
        with contextlib.redirect_stdout(sys.stderr):
            return lightgbm.Booster(model_str=text)
    except (lightgbm.basic.LightGBMError, ValueError, KeyError) as error:
        why = str(error).split("\n", 1)[0]
        raise SourceError(f"{path}: the LightGBM model is damaged", why, "save the model again") from error


def adapt(model: object, sample: Sample | None) -> SourceModel:
    """See `Exporter.adapt`."""
    _import_lightgbm()
    booster, classes = _parts(model)
    text = parse_model(booster.model_to_string())
    features = _features(booster, text, sample)
    head = _head(text, classes)
    name = type(model).__name__
    objective = text.objective[0] or "custom"
    return SourceModel(
        framework="LightGBM",
        versions={"lightgbm": version("lightgbm")},
        description=f"{name}({text.iterations} iterations, objective {objective}, {len(features)} features)",
        columns=tuple(feature.column for feature in features),
        reference=_reference(booster, features, head),
        conversions=lambda: _conversions(text, features, head),
    )


def _conversions(text: ModelText, features: Sequence[Feature], head: Head) -> Iterator[Conversion]:
    trees = add_bases(read_trees(text), [0.0] * head.scores, DTYPE)
    yield convert(TreeModel(features, trees, head, DTYPE, DTYPE, "<=", _prepare(text, features)))


def _prepare(text: ModelText, features: Sequence[Feature]) -> Prepare:
    zero = zero_features(text)
    fractional = [
        index
        for index in sorted(categorical_features(text))
        if features[index].categories is None and features[index].column.dtype in FLOATS
    ]

    def prepare(graph: GraphBuilder, matrix: str, positions: Array) -> str:
        width = len(features)
        if zero:
            matrix = set_missing(graph, matrix, {int(positions[index]): ZERO for index in zero}, width, DTYPE)
        if fractional:
            matrix = truncate(graph, matrix, positions[fractional].tolist(), width, DTYPE)
        return matrix

    return prepare


def _parts(model: Any) -> tuple[Any, Array | None]:
    """The booster, and the labels of a classifier that knows its own."""
    if type(model).__name__ == "Booster" or not hasattr(model, "fit"):
        return model, None
    if not getattr(model, "fitted_", False):
        raise SourceError(f"the {type(model).__name__} is not fitted", fix="call fit before exporting it")
    has_labels = hasattr(model, "predict_proba") and not callable(model.objective_)
    return model.booster_, class_labels(model.classes_) if has_labels else None


def _head(text: ModelText, classes: Array | None) -> Head:
    name, parameters = text.objective
    if classes is None and name in CLASSIFYING:
        classes = np.arange(max(2, text.scores))
    link = _link(name, parameters)
    if "average_output" in text.header:
        link = links.divided(link, text.iterations)
    return Head(link, text.scores, classes)


def _link(name: str, parameters: Mapping[str, str]) -> links.Link:
    if "sqrt" in parameters:
        return links.signed_square
    if name in PLAIN:
        return links.identity
    if name in {"binary", "multiclassova"}:
        return links.logistic(float(parameters.get("sigmoid", 1)))
    known = {
        "multiclass": links.softmax, "poisson": links.exponential, "gamma": links.exponential,
        "tweedie": links.exponential, "cross_entropy": links.logistic(), "cross_entropy_lambda": links.soft_plus,
    }  # fmt: skip
    if name not in known:
        raise ConversionError(
            f"unknown LightGBM objective {name!r}", "mlkit does not know what follows its raw scores"
        )
    return known[name]


def _features(booster: Any, text: ModelText, sample: Sample | None) -> list[Feature]:
    own = booster.feature_name()
    are_invented = own == [f"Column_{index}" for index in range(len(own))]
    names = match_names(own, sample, are_invented)
    categories = _categories(booster.pandas_categorical or [], names, text, sample)
    return [
        Feature(category_column(name, categories[name], sample), tuple(categories[name]))
        if name in categories
        else Feature(number_column(name, sample, DTYPE))
        for name in names
    ]


def _categories(
    lists: list[list[Any]], names: Sequence[str], text: ModelText, sample: Sample | None
) -> dict[str, list[Category]]:
    """Categories by column. The booster has them in the order of its category columns, but not which they are."""
    if not lists:
        return {}
    is_text = [sample is not None and sample.columns[name].dtype == object for name in names]
    infos = [info.partition(":")[1] == ":" and not info.startswith("[") for info in text.feature_infos]
    unused = [info == "none" for info in text.feature_infos]
    maybe = [a or b for a, b in zip(is_text, infos, strict=True)]
    for candidates in (is_text, maybe, [a or b for a, b in zip(maybe, unused, strict=True)]):
        chosen = [name for name, is_category in zip(names, candidates, strict=True) if is_category]
        if len(chosen) == len(lists):
            return {
                name: [value.item() if isinstance(value, np.generic) else value for value in values]
                for name, values in zip(chosen, lists, strict=True)
            }
    raise ConversionError(
        f"the model was trained on {len(lists)} category columns, and it is unclear which",
        "LightGBM stores the categories, but not the names of their columns",
        "export with a sample, or train with every category column unordered and text",
    )


def _reference(booster: Any, features: Sequence[Feature], head: Head) -> Callable[[Columns], Columns]:
    def reference(columns: Columns) -> Columns:
        rows = _rows(features, columns)
        with contextlib.redirect_stdout(sys.stderr):
            return name_outputs(head, booster.predict(rows, num_threads=1), DTYPE)

    return reference


def _rows(features: Sequence[Feature], columns: Columns) -> Any:
    """What Booster.predict takes: a matrix, or a pandas frame where there are categories.

    Integers become float64, as from a data frame; a NumPy matrix of integers LightGBM would round to float32.
    """
    if all(feature.categories is None for feature in features):
        return np.stack([columns[feature.column.name].astype(DTYPE) for feature in features], axis=1)
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("pandas", "lightgbm", "a model with categories") from error
    data = {}
    for feature in features:
        values = columns[feature.column.name]
        categories = feature.categories
        data[feature.column.name] = values if categories is None else pd.Categorical(values, categories=categories)
    return pd.DataFrame(data)


def _is_dump(head: bytes) -> bool:
    return head.replace(b" ", b"").startswith(b'{"name":"tree"')


def _import_lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("lightgbm", "lightgbm", "a LightGBM model") from error
    return lightgbm
