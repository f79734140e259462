"""scikit-learn's single trees, forests and tree boosting, each as one sum of leaves.

These trees compare float32 features with float64 thresholds; a float64 graph rounds the features first and
then compares just so.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Frame, width_of
from mlops_kit.exporters.sklearn.encoders import encode_one_hot
from mlops_kit.exporters.sklearn.scores import (
    exponential,
    from_probability,
    labels_at,
    logistic_pair,
    softmax,
)
from mlops_kit.exporters.sklearn.translator import Classified, Translator, numbers
from mlops_kit.exporters.sklearn.trees import Tree, sum_by_target, sum_leaves
from mlops_kit.schema import Array


def rounded_matrix(model: Any, frame: Frame, t: Translator) -> str:
    """The features as these trees see them: rounded to float32."""
    matrix = t.matrix(model, frame)
    return t.graph.cast(t.graph.cast(matrix, "float32")) if t.graph.dtype == np.float64 else matrix


def tree_of(model: Any, features: Array | None = None) -> Tree:
    """A fitted tree; `features` are the columns that it was shown."""
    tree = model.tree_
    return Tree(
        features=tree.feature if features is None else np.asarray(features)[np.maximum(tree.feature, 0)],
        thresholds=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        is_leaf=tree.children_left == -1,
        missing_left=tree.missing_go_to_left,
    )


def members_of(model: Any) -> list[Any]:
    """The trees of a forest, or the one tree itself."""
    return list(model.estimators_) if hasattr(model, "estimators_") else [model]


def mean_of_trees(members: list[Any], values: list[Array], model: Any, frame: Frame, t: Translator) -> str:
    """The mean of the values, shape (nodes, k), of the leaves that each row reaches."""
    total = sum_leaves([tree_of(m) for m in members], values, rounded_matrix(model, frame, t), t.graph)
    return total if len(members) == 1 else t.graph.add("Div", total, np.array(float(len(members))))


def predict_mean(model: Any, frame: Frame, t: Translator) -> str:
    """Regression trees and forests."""
    members = members_of(model)
    return mean_of_trees(members, [m.tree_.value[:, :, 0] for m in members], model, frame, t)


def class_probabilities(model: Any, frame: Frame, t: Translator) -> list[str]:
    """Mean class frequencies of trees and forests, target by target."""
    members = members_of(model)
    counts = np.atleast_1d(model.n_classes_)
    owners = np.repeat(np.arange(len(counts)), counts)
    columns = np.concatenate([np.arange(count) for count in counts])
    mean = mean_of_trees(members, [m.tree_.value[:, owners, columns] for m in members], model, frame, t)
    if len(counts) == 1:
        return [mean]
    return [t.graph.add("Gather", mean, np.flatnonzero(owners == k), axis=1) for k in range(len(counts))]


def classify_by_mean(model: Any, frame: Frame, t: Translator) -> Classified:
    """Classification trees and forests of one target."""
    return from_probability(class_probabilities(model, frame, t)[0], model.classes_, t)


def classify_each_by_mean(model: Any, frame: Frame, t: Translator) -> list[Classified]:
    """Classification trees and forests of several targets."""
    made = class_probabilities(model, frame, t)
    return [from_probability(p, classes, t) for p, classes in zip(made, model.classes_, strict=True)]


def gradient_scores(model: Any, frame: Frame, t: Translator) -> str:
    """Raw scores of gradient boosting: what its initial model says, and the trees."""
    stages = model.estimators_
    members = [(m, k) for stage in stages for k, m in enumerate(stage)]
    values = [m.tree_.value.ravel() * model.learning_rate for m, _ in members]
    trees, targets = [tree_of(m) for m, _ in members], [k for _, k in members]
    matrix = rounded_matrix(model, frame, t)
    total = sum_by_target(trees, values, targets, matrix, t.graph)
    if isinstance(model.init_, str) or type(model.init_).__name__.startswith("Dummy"):
        start = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))
        return t.graph.add("Add", total, start.astype(float))
    if hasattr(model, "classes_"):
        raise t.refusal(model, "it starts from a classifier of its own (init)", "train it without init")
    return t.graph.add("Add", total, t.predict(model.init_, numbers(matrix, width_of(frame))))


def classify_by_boosting(model: Any, scores: str, t: Translator, *, zero_is_second: bool) -> Classified:
    """Labels and probabilities of boosted trees, by their loss."""
    name = type(model._loss).__name__
    if name == "HalfMultinomialLoss":
        return from_probability(softmax(scores, len(model.classes_), t), model.classes_, t, scores)
    doubled = t.graph.add("Mul", scores, np.array(2.0)) if name == "ExponentialLoss" else scores
    operator = "GreaterOrEqual" if zero_is_second else "Greater"
    codes = t.graph.cast(t.graph.add(operator, scores, np.array([0.0])), "int64")
    return Classified(labels_at(codes, model.classes_, t), logistic_pair(doubled, t), scores)


def classify_by_gradient(model: Any, frame: Frame, t: Translator) -> Classified:
    """GradientBoostingClassifier."""
    return classify_by_boosting(model, gradient_scores(model, frame, t), t, zero_is_second=True)


def detect_by_isolation(model: Any, frame: Frame, t: Translator) -> Classified:
    """IsolationForest: -1 for outliers, by the mean length of the paths to the leaves."""
    members = list(zip(model.estimators_, model.estimators_features_, strict=True))
    trees = [tree_of(member, features) for member, features in members]
    lengths = [_depths(m.tree_) + _expected_depth(m.tree_.n_node_samples) for m, _ in members]
    total = sum_leaves(
        trees, [length.reshape(-1, 1) for length in lengths], rounded_matrix(model, frame, t), t.graph
    )
    longest = len(trees) * float(_expected_depth(np.array([model._max_samples]))[0])
    exponent = t.graph.add("Mul", total, np.array(-np.log(2.0) / longest))
    score = t.graph.add("Sub", t.graph.add("Neg", exponential(exponent, t)), np.array(float(model.offset_)))
    is_outlier = t.graph.cast(t.graph.add("Less", score, np.array([0.0])), "int64")
    return Classified(labels_at(is_outlier, np.array([1, -1]), t), None, score)


def _depths(tree: Any) -> Array:
    depths = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # children have higher numbers than their parents
        for child in (tree.children_left[node], tree.children_right[node]):
            if child != -1:
                depths[child] = depths[node] + 1
    return depths


def _expected_depth(rows: Array) -> Array:
    """Mean depth of a random tree over so many rows: equation 1 of Liu, Ting and Zhou, "Isolation Forest"."""
    n = np.maximum(np.asarray(rows, float), 3.0)
    many = 2.0 * (np.log(n - 1.0) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    return np.where(np.asarray(rows) > 2, many, np.where(np.asarray(rows) == 2, 1.0, 0.0))


def embed_in_leaves(model: Any, frame: Frame, t: Translator) -> Frame:
    """RandomTreesEmbedding: which leaf of every tree a row falls into, one-hot."""
    members = model.estimators_
    nodes = [np.arange(m.tree_.node_count) for m in members]
    matrix = rounded_matrix(model, frame, t)
    leaves = sum_by_target([tree_of(m) for m in members], nodes, range(len(members)), matrix, t.graph)
    return encode_one_hot(model.one_hot_encoder_, numbers(leaves, len(members)), t)


FORESTS = ("DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees")

REGRESSORS: Mapping[str, Callable[[Any, Frame, Translator], str]] = {
    **{f"{name}Regressor": predict_mean for name in FORESTS},
    "GradientBoostingRegressor": gradient_scores,
}

CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], Classified]] = {
    **{f"{name}Classifier": classify_by_mean for name in FORESTS},
    "GradientBoostingClassifier": classify_by_gradient,
    "IsolationForest": detect_by_isolation,
}

MULTI_CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], list[Classified]]] = {
    f"{name}Classifier": classify_each_by_mean for name in FORESTS
}

TRANSFORMERS: Mapping[str, Callable[[Any, Frame, Translator], Frame]] = {"RandomTreesEmbedding": embed_in_leaves}
