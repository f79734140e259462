"""CatBoost: native model files (.cbm and .json), and its estimators.

The trees are converted here, not by CatBoost's own ONNX export: that gives another file for the same model each
time, leaves out the exponent of Poisson and Tweedie models, and refuses trees that are not symmetric.
"""

import contextlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mlops_kit.errors import ConversionError, MissingExtraError, SourceError
from mlops_kit.exporters.catboost.model_json import DTYPE, ModelJson, check_features, read_trees
from mlops_kit.exporters.interface import Conversion, Sample, SourceModel
from mlops_kit.exporters.trees import outputs as links
from mlops_kit.exporters.trees.inputs import Feature, match_names, number_column
from mlops_kit.exporters.trees.model import TreeModel, convert
from mlops_kit.exporters.trees.outputs import Head, class_labels, name_outputs
from mlops_kit.schema import Array, Columns

INPUT_DTYPE = "float32"
"""CatBoost rounds its inputs to float32, and adds up in float64."""

PARTS = frozenset({"features_info", "model_info", "scale_and_bias"})
JSON_HEAD = re.compile(rb'\s*\{\s*"(features_info|ctr_data)"\s*:')
EXPONENTIAL = frozenset({"Poisson", "Tweedie"})
ONE_SCORE_CLASSES = frozenset({"Logloss", "CrossEntropy"})
LINKS = {"MultiClass": links.softmax, "MultiClassOneVsAll": links.logistic()}
REFUSED = frozenset({"MultiLogloss", "MultiCrossEntropy", "RMSEWithUncertainty"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """The kind of prediction that CatBoost is asked for."""

    prediction_type: str
    head: Head


def recognises(model: object) -> bool:
    """A CatBoost, CatBoostClassifier, CatBoostRegressor or CatBoostRanker."""
    return ("catboost.core", "CatBoost") in {(kind.__module__, kind.__name__) for kind in type(model).__mro__}


def recognises_file(path: Path, head: bytes) -> bool:  # noqa: ARG001 - part of the interface
    """CatBoost's binary format, or its JSON."""
    return head.startswith(b"CBM1") or JSON_HEAD.match(head) is not None


def read(path: Path) -> object:
    """Read a model file. Raises SourceError."""
    catboost = _import_catboost()
    with path.open("rb") as file:
        kind = "cbm" if file.read(4) == b"CBM1" else "json"
    try:
        if kind == "json" and (missing := PARTS - json.loads(path.read_bytes()).keys()):
            raise ValueError(f"it has no {', '.join(sorted(missing))}")  # noqa: TRY301 - as any other damage
        with contextlib.redirect_stdout(sys.stderr):
            model = catboost.CatBoost().load_model(str(path), format=kind)
            # These fail where CatBoost itself took a damaged file without a word.
            len(model.feature_names_)
            dict(model.get_metadata())
    except (catboost.CatBoostError, ValueError, TypeError) as error:
        raise SourceError(
            f"{path}: CatBoost cannot read the model", str(error).strip().split("\n", 1)[0], "save the model again"
        ) from error
    return model


def adapt(model: Any, sample: Sample | None) -> SourceModel:
    """See `Exporter.adapt`."""
    _import_catboost()
    if not model.is_fitted():
        raise SourceError(f"the {type(model).__name__} is not fitted", fix="call fit before exporting it")
    content = _content(model)
    features = _features(model, sample)
    asked = _asked(model, content)
    loss = content.loss or "custom"
    return SourceModel(
        framework="CatBoost",
        versions={"catboost": version("catboost")},
        description=f"{type(model).__name__}({len(content.trees)} trees, loss {loss}, {len(features)} features)",
        columns=tuple(feature.column for feature in features),
        reference=_reference(model, features, asked),
        conversions=lambda: _conversions(content, features, asked.head),
    )


def _conversions(content: ModelJson, features: Sequence[Feature], head: Head) -> Iterator[Conversion]:
    yield convert(TreeModel(features, read_trees(content), head, INPUT_DTYPE, DTYPE, "<="))


def _content(model: Any) -> ModelJson:
    check_features(
        {
            "categories": model.get_cat_feature_indices(),
            "text": model.get_text_feature_indices(),
            "embeddings": model.get_embedding_feature_indices(),
        }
    )
    with tempfile.TemporaryDirectory(prefix="mlkit-") as directory:
        path = Path(directory) / "model.json"
        with contextlib.redirect_stdout(sys.stderr):
            model.save_model(str(path), format="json")
        return ModelJson(json.loads(path.read_bytes()))


def _asked(model: Any, content: ModelJson) -> _Asked:
    loss, scores = content.loss, content.scores
    if loss in REFUSED:
        raise ConversionError(
            f"a CatBoost model with the loss {loss} gives several answers to a row", "mlkit exports one",
            "train one model per label, or with the loss RMSE",
        )  # fmt: skip
    if loss in EXPONENTIAL:
        return _Asked("Exponent", Head(links.exponential, scores))
    if content.classes is None or loss not in LINKS.keys() | ONE_SCORE_CLASSES:
        return _Asked("RawFormulaVal", Head(links.identity, scores))
    classes = class_labels(np.asarray(model.classes_ if len(model.classes_) else content.classes))
    if scores > 1:
        return _Asked("Probability", Head(LINKS.get(loss, links.softmax), scores, classes))
    return _Asked("Probability", Head(links.logistic(), 1, classes, content.threshold))


def _features(model: Any, sample: Sample | None) -> list[Feature]:
    own = [str(name) for name in model.feature_names_]
    are_invented = own == [str(index) for index in range(len(own))]
    return [Feature(number_column(name, sample, INPUT_DTYPE)) for name in match_names(own, sample, are_invented)]


def _reference(model: Any, features: Sequence[Feature], asked: _Asked) -> Callable[[Columns], Columns]:
    import catboost

    def reference(columns: Columns) -> Columns:
        rows = np.stack([columns[feature.column.name].astype(np.float64) for feature in features], axis=1)
        with contextlib.redirect_stdout(sys.stderr):
            answers: Array = np.asarray(
                catboost.CatBoost.predict(model, rows, prediction_type=asked.prediction_type, thread_count=1)
            )
        if asked.head.classes is not None and asked.head.scores == 1:
            answers = answers[:, 1]
        return name_outputs(asked.head, answers, DTYPE)

    return reference


def _import_catboost() -> Any:
    try:
        import catboost
    except ImportError as error:
        raise MissingExtraError("catboost", "catboost", "a CatBoost model") from error
    return catboost
