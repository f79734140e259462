"""LightGBM's own text form of a model, read into trees.

The text has every threshold and leaf in 17 digits, which is every bit, and the trees as flat arrays; the JSON dump
nests them deeper than a parser may recurse.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mlops_kit.errors import ConversionError
from mlops_kit.exporters.trees.ensemble import Tree
from mlops_kit.schema import Array

ZERO = float(np.float32(1e-35))
"""Numbers no larger than this are zero to LightGBM (kZeroThreshold)."""

IS_CATEGORICAL, DEFAULT_LEFT, MISSING_TYPE = 1, 2, 12
MISSING_IS_ZERO, MISSING_IS_NAN = 4, 8


@dataclass(frozen=True, slots=True)
class ModelText:
    """The header's fields, and each tree's."""

    header: Mapping[str, str]
    trees: tuple[Mapping[str, str], ...]

    @property
    def objective(self) -> tuple[str, Mapping[str, str]]:
        """Its name ("" for a custom one) and its parameters: "binary sigmoid:1" → binary, {"sigmoid": "1"}."""
        name, *rest = self.header.get("objective", "").split() or [""]
        return name, {key: value for key, _, value in (word.partition(":") for word in rest)}

    @property
    def scores(self) -> int:
        """The number of raw scores: trees per iteration."""
        return int(self.header.get("num_tree_per_iteration", "1"))

    @property
    def iterations(self) -> int:
        """Rounds of boosting."""
        return len(self.trees) // self.scores

    @property
    def feature_infos(self) -> list[str]:
        """Of each feature: "[0:2.5]" for numbers, "0:1:2" for categories, "none" for one that was not used."""
        return self.header.get("feature_infos", "").split()


def parse_model(text: str) -> ModelText:
    """Read what `Booster.model_to_string` writes."""
    body = text.partition("\nend of trees")[0]
    header, *trees = body.split("\nTree=")
    return ModelText(_fields(header), tuple(_fields(tree) for tree in trees))


def check_model(text: str) -> None:
    """Raise ValueError or KeyError for a text that is damaged: LightGBM itself would crash on it."""
    if "\nend of trees" not in text or ("\nparameters:" in text) != ("\nend of parameters" in text):
        raise ValueError("it is cut off")
    model = parse_model(text)
    places = [match.start() for match in re.finditer(r"^(Tree=\d+|end of trees)$", text, re.MULTILINE)]
    sizes = model.header.get("tree_sizes", "").split()
    if sizes and sizes != [str(end - start) for start, end in pairwise(places)]:
        raise ValueError("its trees are not of the size that it says")
    for index, fields in enumerate(model.trees):
        splits, features = int(fields["num_leaves"]) - 1, int(model.header["max_feature_idx"])
        columns = [*_decisions(fields), _integers(fields, "left_child"), _integers(fields, "right_child")]
        if [*map(len, columns), len(_leaves(fields))] != [splits] * 5 + [splits + 1]:
            raise ValueError(f"tree {index} has too many or too few values")
        children, own = np.stack(columns[-2:]), np.arange(splits)
        is_wrong = (children < ~splits) | (children >= splits) | ((children >= 0) & (children <= own))
        if is_wrong.any() or (columns[0] > features).any():
            raise ValueError(f"tree {index} points at what is not there")


def read_trees(model: ModelText) -> list[Tree]:
    """The trees, with a missing value already led to where LightGBM leads it."""
    return [_read_tree(fields, index % model.scores) for index, fields in enumerate(model.trees)]


def zero_features(model: ModelText) -> list[int]:
    """The features in which zero means missing. Raises ConversionError where a feature is ambiguous."""
    zero: set[int] = set()
    conflicting: set[int] = set()
    for fields in model.trees:
        feature, decision, threshold = _decisions(fields)
        numeric = (decision & IS_CATEGORICAL) == 0
        is_zero = numeric & ((decision & MISSING_TYPE) == MISSING_IS_ZERO)
        zero |= set(feature[is_zero].tolist())
        differs = ((decision & DEFAULT_LEFT) > 0) != (threshold >= 0)
        conflicting |= set(feature[numeric & ((decision & MISSING_TYPE) == MISSING_IS_NAN) & differs].tolist())
    if zero & conflicting:
        raise ConversionError(
            "zero is a missing value in some of the model's trees and a number in others",
            "training was continued with another zero_as_missing",
            "train all trees with the same zero_as_missing",
        )
    return sorted(zero)


def categorical_features(model: ModelText) -> set[int]:
    """The features that some tree splits by category."""
    found: set[int] = set()
    for fields in model.trees:
        feature, decision, _ = _decisions(fields)
        found |= set(feature[(decision & IS_CATEGORICAL) > 0].tolist())
    return found


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.split("\n") if line)
    return {key: value for key, _, value in pairs}


def _read_tree(fields: Mapping[str, str], target: int) -> Tree:
    if fields.get("is_linear", "0") != "0":
        raise ConversionError(
            "the model has linear trees", "their leaves hold equations, which no ONNX operator does",
            "train with linear_tree=False",
        )  # fmt: skip
    feature, decision, threshold = _decisions(fields)
    missing, default = decision & MISSING_TYPE, (decision & DEFAULT_LEFT) > 0
    # Where the training data had no missing value, LightGBM takes one for zero. A category that is missing
    # is none of those that go left.
    nan_left = np.where(missing == 0, threshold >= 0, default) & ((decision & IS_CATEGORICAL) == 0)
    return Tree(
        feature,
        threshold,
        yes=_integers(fields, "left_child"),
        no=_integers(fields, "right_child"),
        nan_yes=nan_left,
        leaves=_leaves(fields),
        target=target,
        members=dict(_members(fields, decision, threshold)),
    )


def _members(fields: Mapping[str, str], decision: Array, threshold: Array) -> Iterator[tuple[int, Array]]:
    """The categories that go left, which the text keeps as bits of 32-bit words."""
    boundaries = _integers(fields, "cat_boundaries")
    words = np.array(fields.get("cat_threshold", "").split(), np.int64).astype("<u4")
    for split in np.flatnonzero(decision & IS_CATEGORICAL).tolist():
        index = int(threshold[split])
        bits = np.unpackbits(words[boundaries[index] : boundaries[index + 1]].view(np.uint8), bitorder="little")
        yield split, np.flatnonzero(bits)


def _decisions(fields: Mapping[str, str]) -> tuple[Array, Array, Array]:
    threshold = np.array(fields.get("threshold", "").split(), np.float64)
    return _integers(fields, "split_feature"), _integers(fields, "decision_type"), threshold


def _leaves(fields: Mapping[str, str]) -> Array:
    return np.array(fields["leaf_value"].split(), np.float64)


def _integers(fields: Mapping[str, str], name: str) -> Array:
    return np.array(fields.get(name, "").split(), np.int64)
