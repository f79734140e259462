"""scikit-learn's trees, arrays with an entry per node, as splits and leaves of the TreeEnsemble operator.

A leaf of that operator has one value. Where scikit-learn's leaves have several (classes, targets), the
operator gives the number of the leaf that each tree reaches, and the values are looked up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlops_kit.exporters.sklearn.graph import GraphBuilder, row_sum
from mlops_kit.exporters.trees import ensemble
from mlops_kit.schema import Array


@dataclass(frozen=True, slots=True)
class Tree:
    """The shape of one tree; node 0 is the root.

    A row goes left where its feature is at most the threshold, or is one of the node's `members`, and where
    it is missing and `missing_left`.
    """

    features: Array
    thresholds: Array
    left: Array
    right: Array
    is_leaf: Array
    missing_left: Array
    members: Mapping[int, Array] = field(default_factory=dict)


def sum_leaves(trees: Sequence[Tree], values: Sequence[Array], matrix: str, graph: GraphBuilder) -> str:
    """The sum of the leaves that each row reaches, shape (rows, k); a tree's values have shape (nodes, k)."""
    width = values[0].shape[1]
    if width == 1:
        return sum_by_target(trees, [value.ravel() for value in values], [0] * len(trees), matrix, graph)
    leaves = [value[tree.is_leaf] for tree, value in zip(trees, values, strict=True)]
    starts = np.cumsum([0, *(len(leaf) for leaf in leaves)])
    numbers = [_leaf_numbers(tree) + start for tree, start in zip(trees, starts[:-1], strict=True)]
    reached = graph.cast(sum_by_target(trees, numbers, range(len(trees)), matrix, graph), "int64")
    table = np.concatenate(leaves).astype(float)
    columns = [row_sum(graph.add("Gather", table[:, k], reached), len(trees), graph) for k in range(width)]
    return graph.add("Concat", *columns, axis=1)


def sum_by_target(
    trees: Sequence[Tree], values: Sequence[Array], targets: Sequence[int], matrix: str, graph: GraphBuilder
) -> str:
    """The same for trees with one value per node, each added to its own target; shape (rows, targets)."""
    grown = [_split(t, value, target, graph) for t, value, target in zip(trees, values, targets, strict=True)]
    output = graph.unique_name("/TreeEnsemble")
    node = ensemble.tree_ensemble(
        grown, matrix, output, targets=max(targets) + 1, dtype=graph.dtype.name, comparison="<="
    )
    graph.add_node(node)
    return output


def _split(tree: Tree, values: Array, target: int, graph: GraphBuilder) -> ensemble.Tree:
    leaf, branch = np.flatnonzero(tree.is_leaf), np.flatnonzero(~tree.is_leaf)
    places = np.empty(len(tree.is_leaf), np.int64)
    places[branch], places[leaf] = np.arange(len(branch)), ~np.arange(len(leaf))
    return ensemble.Tree(
        feature=tree.features[branch].astype(np.int64),
        threshold=_comparable(tree.thresholds[branch].astype(np.float64), graph),
        yes=places[tree.left[branch]],
        no=places[tree.right[branch]],
        nan_yes=tree.missing_left[branch].astype(bool),
        leaves=values[leaf].astype(np.float64),
        target=target,
        members={int(places[node]): codes for node, codes in tree.members.items()},
    )


def _comparable(thresholds: Array, graph: GraphBuilder) -> Array:
    """`x <= t` means the same for every float32 x if t is rounded down to a float32."""
    if graph.dtype == np.float64:
        return thresholds
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _leaf_numbers(tree: Tree) -> Array:
    return np.cumsum(tree.is_leaf) - 1
