"""XGBoost's JSON form of a model, read into trees."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mlops_kit.errors import ConversionError
from mlops_kit.exporters.trees.ensemble import Tree, add_bases
from mlops_kit.schema import Array

DTYPE = "float32"
LOGISTIC = frozenset({"binary:logistic", "reg:logistic"})
EXPONENTIAL = frozenset({"count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"})


@dataclass(frozen=True, slots=True)
class ModelJson:
    """What `Booster.save_raw("json")` gives, decoded."""

    learner: Mapping[str, Any]

    @property
    def booster(self) -> Mapping[str, Any]:
        """The trees, of gbtree or dart."""
        booster = self.learner["gradient_booster"]
        if booster["name"] == "gblinear":
            raise ConversionError(
                "the model is XGBoost's gblinear",
                "it has no trees",
                "train with booster='gbtree', or export a linear model of scikit-learn",
            )
        trees: Mapping[str, Any] = (booster["gbtree"] if booster["name"] == "dart" else booster)["model"]
        return trees

    @property
    def objective(self) -> str:
        """The objective's name, such as "binary:logistic"."""
        return str(self.learner["objective"]["name"])

    @property
    def feature_count(self) -> int:
        """The number of inputs."""
        return int(self.learner["learner_model_param"]["num_feature"])

    @property
    def classes(self) -> int:
        """The number of classes of a multi-class model, else 0."""
        return int(self.learner["learner_model_param"]["num_class"])

    @property
    def scores(self) -> int:
        """The number of raw scores."""
        return max(self.classes, int(self.learner["learner_model_param"].get("num_target", "1")), 1)

    @property
    def iterations(self) -> int:
        """Rounds of boosting."""
        return len(_iteration_starts(self)) - 1


def read_trees(model: ModelJson, iterations: int) -> list[Tree]:
    """The trees of the first `iterations` rounds, with the base scores in them."""
    booster = model.booster
    count = _iteration_starts(model)[iterations]
    weights = _tree_weights(model, count)
    trees: list[Tree] = []
    for fields, target, weight in zip(booster["trees"][:count], booster["tree_info"], weights, strict=False):
        trees += _read_tree(fields, target, weight)
    return add_bases(trees, base_margins(model).tolist(), DTYPE)


def base_margins(model: ModelJson) -> Array:
    """The raw scores before the first tree. XGBoost keeps them on the scale of its predictions."""
    text = model.learner["learner_model_param"]["base_score"]
    values = np.array(text.strip("[]").split(","), DTYPE)
    with np.errstate(divide="ignore"):
        if model.objective in LOGISTIC:
            values = -np.log(np.float32(1) / values - np.float32(1))
        elif model.objective in EXPONENTIAL:
            values = np.log(values)
    return np.resize(values, model.scores)


def feature_categories(model: ModelJson) -> dict[int, tuple[str | int | float, ...]]:
    """Feature → categories in the order of their codes, where the model remembers them (XGBoost 3.1 and later)."""
    encodings = model.booster.get("cats", {}).get("enc", [])
    found = {}
    for index, encoding in enumerate(encodings):
        if values := tuple(_decode_categories(encoding)):
            found[index] = values
    return found


def categorical_features(model: ModelJson) -> set[int]:
    """The features that are categories, by the model's own account or by the way it splits them."""
    types = model.learner.get("feature_types", [])
    found = {index for index, kind in enumerate(types) if kind == "c"}
    for fields in model.booster["trees"]:
        found |= {fields["split_indices"][node] for node in fields.get("categories_nodes", [])}
    return found


def _decode_categories(encoding: Mapping[str, Any]) -> Iterator[str | int | float]:
    values, offsets = encoding["values"], encoding.get("offsets")
    if offsets is None:
        yield from values
        return
    if min(values, default=0) < 0 or max(values, default=0) > 127:
        raise ConversionError(
            "the model has categories with letters beyond ASCII",
            "XGBoost counts their letters where it should count bytes, and stores them damaged",
            "train on categories in plain ASCII, or on their codes",
        )
    for start, end in pairwise(offsets):
        yield bytes(values[start:end]).decode("ascii")


def _iteration_starts(model: ModelJson) -> Sequence[int]:
    """The first tree of each round, and the number of trees."""
    booster = model.booster
    if starts := booster.get("iteration_indptr"):
        return [int(start) for start in starts]
    step = model.scores * int(booster["gbtree_model_param"].get("num_parallel_tree", "1"))
    return list(range(0, len(booster["trees"]) + 1, step))


def _tree_weights(model: ModelJson, count: int) -> Array:
    booster = model.learner["gradient_booster"]
    return np.array(booster["weight_drop"][:count] if booster["name"] == "dart" else [1.0] * count, DTYPE)


def _read_tree(fields: Mapping[str, Any], target: int, weight: np.float32) -> Iterator[Tree]:
    """One tree; or, where leaves are vectors, one for each of their values."""
    left, right = np.array(fields["left_children"], np.int64), np.array(fields["right_children"], np.int64)
    is_leaf = left < 0
    # XGBoost numbers leaves and splits together.
    place = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(~is_leaf) - 1)
    splits = np.flatnonzero(~is_leaf)
    members = dict(_members(fields, place))
    yes, no = place[left[splits]], place[right[splits]]
    nan_yes = np.array(fields["default_left"], bool)[splits]
    swapped = list(members)
    yes[swapped], no[swapped], nan_yes[swapped] = no[swapped], yes[swapped], ~nan_yes[swapped]
    conditions = np.array(fields["split_conditions"], DTYPE)
    feature = np.array(fields["split_indices"], np.int64)[splits]
    for offset, leaves in enumerate(_leaves(fields, is_leaf, right, conditions)):
        yield Tree(feature, conditions[splits], yes, no, nan_yes, leaves * weight, target + offset, members)


def _leaves(fields: Mapping[str, Any], is_leaf: Array, right: Array, conditions: Array) -> Iterator[Array]:
    size = int(fields["tree_param"].get("size_leaf_vector", "1"))
    if size <= 1:
        yield conditions[is_leaf]
    elif "leaf_weights" in fields:
        yield from np.array(fields["leaf_weights"], DTYPE).reshape(-1, size)[right[is_leaf]].T
    else:
        yield from np.array(fields["base_weights"], DTYPE).reshape(-1, size)[is_leaf].T


def _members(fields: Mapping[str, Any], place: Array) -> Iterator[tuple[int, Array]]:
    """Split → the categories that go right."""
    categories = np.array(fields.get("categories", []), np.int64)
    nodes, starts = fields.get("categories_nodes", []), fields.get("categories_segments", [])
    for node, start, size in zip(nodes, starts, fields.get("categories_sizes", []), strict=True):
        yield int(place[node]), categories[start : start + size]
