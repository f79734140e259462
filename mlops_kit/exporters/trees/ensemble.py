"""Boosted trees as one TreeEnsemble operator (ai.onnx.ml 5), which LightGBM, XGBoost and CatBoost share.

The operator computes in the type of its input. In ONNX Runtime float64 costs no measurable time, and it adds up
the leaves tree by tree, as the frameworks do: the sums are the same bits. Two of its mistakes are kept away from:
1.24 takes the wrong leaf for a tree without splits, and 1.31 confuses softmax with logistic in `post_transform`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mlops_kit.schema import Array

LESS_OR_EQUAL, LESS, MEMBER = 0, 1, 6
SUM = 1
COMPARISONS = {"<=": LESS_OR_EQUAL, "<": LESS}


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree: its splits as parallel arrays, the root first, and its leaves.

    In `yes` and `no`, c ≥ 0 is the split c, and c < 0 is the leaf ~c.
    """

    feature: Array
    threshold: Array
    yes: Array
    """Where a value goes that compares as true with the threshold, or is one of the split's `members`."""

    no: Array
    nan_yes: Array
    leaves: Array
    target: int = 0
    """Which of the model's raw scores the leaves add to."""

    members: Mapping[int, Array] = field(default_factory=dict)
    """Split → category codes, for a split that asks for membership instead of comparing."""

    def plus(self, value: float, dtype: str) -> "Tree":
        """The same tree with a constant added to its leaves, rounded as the dtype is."""
        return replace(self, leaves=self.leaves.astype(dtype) + np.dtype(dtype).type(value))


def constant_tree(value: float, target: int = 0) -> Tree:
    """A tree of one leaf."""
    none = np.zeros(0, np.int64)
    return Tree(none, none.astype(np.float64), none, none, none.astype(bool), np.array([value]), target)


def add_bases(trees: Sequence[Tree], bases: Sequence[float], dtype: str) -> list[Tree]:
    """Put each raw score's starting value into its first tree; a score without trees gets a constant one."""
    result, waiting = [], dict(enumerate(bases))
    for tree in trees:
        base = waiting.pop(tree.target, None)
        result.append(tree if base is None else tree.plus(base, dtype))
    return result + [constant_tree(base, target) for target, base in waiting.items()]


def tree_ensemble(
    trees: Sequence[Tree], source: str, result: str, *, targets: int, dtype: str, comparison: Literal["<=", "<"]
) -> onnx.NodeProto:
    """The operator from a matrix of features to raw scores of shape (rows, targets)."""
    trees = [tree if len(tree.feature) else _with_a_split(tree) for tree in trees]
    modes = [_modes(tree, COMPARISONS[comparison]) for tree in trees]
    attributes: dict[str, Any] = {
        "n_targets": targets,
        "aggregate_function": SUM,
        **_branches(trees),
        "nodes_featureids": _joined([tree.feature for tree in trees]).tolist(),
        "nodes_splits": _tensor(_joined([tree.threshold for tree in trees]).astype(dtype)),
        "nodes_modes": _tensor(_joined(modes)),
        "nodes_missing_value_tracks_true": _joined([tree.nan_yes for tree in trees]).astype(int).tolist(),
        "leaf_weights": _tensor(_joined([tree.leaves for tree in trees]).astype(dtype)),
        "leaf_targetids": _joined([np.full(len(tree.leaves), tree.target) for tree in trees]).tolist(),
    }
    if members := [tree.members[split] for tree in trees for split in sorted(tree.members)]:
        attributes["membership_values"] = _tensor(_delimited(members, dtype))
    return helper.make_node("TreeEnsemble", [source], [result], domain="ai.onnx.ml", **attributes)


def _with_a_split(tree: Tree) -> Tree:
    """Both branches lead to the same value, but not to the same leaf, which is what ONNX Runtime mistakes."""
    return Tree(
        np.zeros(1, np.int64), np.zeros(1), np.array([-1]), np.array([-2]), np.zeros(1, bool),
        np.repeat(tree.leaves, 2), tree.target,
    )  # fmt: skip


def _modes(tree: Tree, comparison: int) -> Array:
    modes = np.full(len(tree.feature), comparison, np.uint8)
    modes[list(tree.members)] = MEMBER
    return modes


def _branches(trees: Sequence[Tree]) -> dict[str, list[int]]:
    splits = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    leaves = np.cumsum([0, *(len(tree.leaves) for tree in trees)])
    result: dict[str, list[int]] = {"tree_roots": splits[:-1].tolist()}
    for name, children in (("true", [tree.yes for tree in trees]), ("false", [tree.no for tree in trees])):
        ids = [
            np.where(child >= 0, child + split, ~child + leaf)
            for child, split, leaf in zip(children, splits[:-1], leaves[:-1], strict=True)
        ]
        result[f"nodes_{name}nodeids"] = _joined(ids).tolist()
        result[f"nodes_{name}leafs"] = (_joined(children) < 0).astype(int).tolist()
    return result


def _delimited(members: Sequence[Array], dtype: str) -> Array:
    """Sets one after the other, each followed by NaN."""
    return _joined([np.append(codes.astype(dtype), np.dtype(dtype).type("nan")) for codes in members])


def _joined(arrays: Sequence[Array]) -> Array:
    return np.concatenate(arrays)


def _tensor(values: Array) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values))
