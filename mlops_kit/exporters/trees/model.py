"""The steps that LightGBM, XGBoost and CatBoost share: trees, inputs and head become a conversion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlops_kit.exporters.graphs.building import GraphBuilder
from mlops_kit.exporters.interface import Conversion
from mlops_kit.exporters.trees.ensemble import Tree, tree_ensemble
from mlops_kit.exporters.trees.inputs import Feature, build_matrix
from mlops_kit.exporters.trees.outputs import Head, add_outputs
from mlops_kit.schema import Array, Signature

Prepare = Callable[[GraphBuilder, str, Array], str]
"""Adds nodes between the matrix and the trees, given the matrix column of each feature."""


@dataclass(frozen=True, slots=True)
class TreeModel:
    """A model of trees, whatever trained it.

    Values and thresholds are compared in `input_dtype`, as the framework does; leaves are added up in `dtype`.
    """

    features: Sequence[Feature]
    trees: Sequence[Tree]
    head: Head
    input_dtype: str
    dtype: str
    comparison: Literal["<=", "<"]
    prepare: Prepare | None = None


def convert(model: TreeModel) -> Conversion:
    """The model as a graph of a few nodes."""
    graph = GraphBuilder()
    tensors, matrix, positions = build_matrix(graph, model.features, model.input_dtype)
    if model.prepare is not None:
        matrix = model.prepare(graph, matrix, positions)
    if model.dtype != model.input_dtype:
        matrix = graph.cast(matrix, model.dtype)
    trees = [replace(tree, feature=positions[tree.feature]) for tree in model.trees]
    scores = graph.new_name("TreeEnsemble")
    graph.nodes.append(
        tree_ensemble(
            trees, matrix, scores, targets=model.head.scores, dtype=model.dtype, comparison=model.comparison
        )
    )
    outputs = add_outputs(graph, scores, model.head, model.dtype)
    columns = tuple(feature.column for feature in model.features)
    signature = Signature(columns, tensors, outputs)
    return Conversion(graph.to_model(), signature, f"{model.input_dtype} inputs, {model.dtype} sums")
