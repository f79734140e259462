"""Histogram gradient boosting: float64 thresholds, and splits on sets of categories."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Frame, pick, split
from mlops_kit.exporters.sklearn.encoders import category_code, encoded_categories, look_up
from mlops_kit.exporters.sklearn.forests import classify_by_boosting
from mlops_kit.exporters.sklearn.scores import exponential
from mlops_kit.exporters.sklearn.translator import Classified, Translator
from mlops_kit.exporters.sklearn.trees import Tree, sum_by_target
from mlops_kit.schema import Array


def raw_scores(model: Any, frame: Frame, t: Translator) -> str:
    """The sum of the baseline and all trees, before the inverse of the link."""
    grown = [(predictor, k) for stage in model._predictors for k, predictor in enumerate(stage)]
    values = [predictor.nodes["value"] for predictor, _ in grown]
    trees, targets = [_tree(predictor) for predictor, _ in grown], [k for _, k in grown]
    total = sum_by_target(trees, values, targets, _features(model, frame, t), t.graph)
    return t.graph.add("Add", total, np.asarray(model._baseline_prediction, float).reshape(1, -1))


def _features(model: Any, frame: Frame, t: Translator) -> str:
    """The matrix that the trees were grown on: codes of the categories first, then the numbers."""
    if model.is_categorical_ is None:
        return t.matrix(model, frame)
    mask = np.asarray(model.is_categorical_, bool)
    encoder = model._preprocessor.named_transformers_["encoder"]
    parts = []
    for index, column in enumerate(split(pick(frame, np.flatnonzero(mask).tolist(), t.graph), t.graph)):
        rows, unknown = encoded_categories(encoder, index)
        parts.append(look_up(category_code(column, encoder.categories_[index], t), rows, unknown, t))
    if not mask.all():
        parts.append(t.matrix(model, pick(frame, np.flatnonzero(~mask).tolist(), t.graph)))
    return t.graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _tree(predictor: Any) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    asks_membership = np.flatnonzero(nodes["is_categorical"].astype(bool) & ~is_leaf)
    return Tree(
        features=nodes["feature_idx"],
        thresholds=nodes["num_threshold"],
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        is_leaf=is_leaf,
        missing_left=nodes["missing_go_to_left"],
        members={int(node): _members(predictor, nodes[node]) for node in asks_membership},
    )


def _members(predictor: Any, node: Any) -> Array:
    words = predictor.raw_left_cat_bitsets[node["bitset_idx"]].astype("<u4")
    codes = np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))
    # Where only missing values go left, a code that does not occur: the runtime refuses an empty set.
    return codes if len(codes) else np.array([-1])


def predict_by_histogram(model: Any, frame: Frame, t: Translator) -> str:
    """HistGradientBoostingRegressor."""
    scores = raw_scores(model, frame, t)
    link = type(model._loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise t.refusal(model, f"its link {link} is unknown")
    return exponential(scores, t) if link == "LogLink" else scores


def classify_by_histogram(model: Any, frame: Frame, t: Translator) -> Classified:
    """HistGradientBoostingClassifier."""
    return classify_by_boosting(model, raw_scores(model, frame, t), t, zero_is_second=False)


REGRESSORS: Mapping[str, Callable[[Any, Frame, Translator], str]] = {
    "HistGradientBoostingRegressor": predict_by_histogram
}
CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], Classified]] = {
    "HistGradientBoostingClassifier": classify_by_histogram
}
