"""Which columns a fitted model takes, and how they enter the graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_kit.errors import MissingColumnsError, SampleError
from mlops_kit.exporters.interface import Sample
from mlops_kit.exporters.sklearn.anatomy import (
    all_texts,
    first_part,
    known,
    null_of,
    takes_documents,
    takes_text,
)
from mlops_kit.exporters.sklearn.blocks import Block, Frame
from mlops_kit.exporters.sklearn.composition import column_indices
from mlops_kit.exporters.sklearn.graph import GraphBuilder
from mlops_kit.schema import FLOATS, Array, Column, Tensor

MATRIX = "features"
SINGLE_PRECISION = ("bool", "int8", "int16", "uint8", "uint16", "float16", "float32")
"""Dtypes whose every value is a float32, too."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The model's columns, as callers know them.

    `positions` are their places among the `total` columns that the model was fitted on: a column transformer
    needs no column that it drops. `own_names` are the names that it was fitted with, if any.
    """

    columns: tuple[Column, ...]
    positions: tuple[int, ...]
    total: int
    own_names: tuple[str, ...] | None
    are_documents: bool
    null: float | None
    null_text: str

    @property
    def is_all_numbers(self) -> bool:
        """Whether there is no text among the columns."""
        return not any(column.dtype == "string" for column in self.columns)

    @property
    def is_single_precision(self) -> bool:
        """Whether scikit-learn itself computes in float32, because no column has more."""
        dtypes = {column.dtype for column in self.columns}
        return dtypes <= set(SINGLE_PRECISION) and not dtypes.isdisjoint(FLOATS)


def look_at_inputs(model: Any, sample: Sample | None) -> Inputs:
    """Match the model's columns with the sample's. Raises MissingColumnsError, SampleError."""
    own_names = known(model, "feature_names_in_")
    total = known(model, "n_features_in_")
    are_documents = takes_documents(model)
    if are_documents:
        names, positions, total = [_document_name(sample)], [0], 1
    elif own_names is not None:
        positions, total = _needed_positions(model, len(own_names)), len(own_names)
        names = [str(own_names[i]) for i in positions]
    else:
        names = _names_by_position(total, sample)
        positions, total = list(range(len(names))), len(names)
    if sample is not None and (missing := [name for name in names if name not in sample.columns]):
        raise MissingColumnsError(missing, sample.columns)
    if sample is None and not are_documents and takes_text(model):
        raise SampleError(
            "the model takes text, and there is no sample",
            "which columns are text is not in it",
            "--sample FILE",
        )
    return Inputs(
        columns=tuple(_column(name, sample, is_text=are_documents) for name in names),
        positions=tuple(positions),
        total=int(total),
        own_names=None if own_names is None or are_documents else tuple(str(name) for name in own_names),
        are_documents=are_documents,
        null=null_of(model),
        null_text=_unused_text(all_texts(model)),
    )


def _needed_positions(model: Any, total: int) -> list[int]:
    """A column transformer at the entrance, fitted on named columns, does without those that it drops."""
    first = first_part(model)
    if type(first).__name__ != "ColumnTransformer":
        return list(range(total))
    kept = [
        column_indices(selected, first)
        for _, step, selected in first.transformers_
        if not (isinstance(step, str) and step == "drop")
    ]
    return sorted({index for indices in kept for index in indices})


def _names_by_position(total: int | None, sample: Sample | None) -> list[str]:
    if sample is None:
        if total is None:
            raise SampleError("the model does not know how many columns it takes", "", "--sample FILE")
        return [f"x{index}" for index in range(total)]
    invented = [f"x{index}" for index in range(total or 0)]
    if invented and all(name in sample.columns for name in invented):
        return invented
    if total is not None and len(sample.columns) != total:
        raise SampleError(
            f"the sample has {len(sample.columns)} columns, and the model takes {total}",
            "it was trained without column names, so the sample has to have just its inputs, in their order",
            "leave out the target and every column that the model does not take",
        )
    return list(sample.columns)


def _document_name(sample: Sample | None) -> str:
    if sample is None:
        return "text"
    texts = [name for name, values in sample.columns.items() if values.dtype == object]
    if len(texts) != 1:
        raise SampleError(
            f"the sample has {len(texts)} columns of text",
            "the model takes one text per row",
            "give just that column",
        )
    return texts[0]


def _column(name: str, sample: Sample | None, *, is_text: bool) -> Column:
    if sample is None:
        dtype = "string" if is_text else "float64"
        return Column(name, dtype, nullable=True)
    values: Array = sample.columns[name]
    if values.ndim != 1:
        raise SampleError(
            f"column {name!r} of the sample has values of shape {values.shape[1:]}", fix="give single values"
        )
    dtype = "string" if values.dtype == object else values.dtype.name
    return Column(name, dtype, nullable=dtype in FLOATS or dtype == "string")


def _unused_text(texts: set[str]) -> str:
    """What stands for a missing text: nothing that the model knows."""
    text = "<missing>"
    while text in texts:
        text = f"<{text}>"
    return text


def add_inputs(inputs: Inputs, graph: GraphBuilder) -> tuple[tuple[Tensor, ...], Frame]:
    """Declare the graph's inputs: one matrix if all are numbers, else one tensor per column."""
    if not inputs.is_all_numbers:
        tensors = [_add_column(column, inputs, graph) for column in inputs.columns]
        blocks = [Block(_computed(tensor, graph), 1, tensor.dtype == "string") for tensor in tensors]
        return tuple(tensors), _placed(blocks, inputs)
    dtype = "float32" if inputs.is_single_precision else "float64"
    names = tuple(column.name for column in inputs.columns)
    tensor = Tensor(graph.add_input(MATRIX, dtype, len(names)), dtype, names, "matrix")
    matrix = _computed(tensor, graph)
    if len(names) == inputs.total:
        return (tensor,), (Block(matrix, len(names)),)
    columns = [Block(graph.add("Gather", matrix, np.array([i]), axis=1), 1) for i in range(len(names))]
    return (tensor,), _placed(columns, inputs)


def _placed(blocks: Sequence[Block], inputs: Inputs) -> Frame:
    """Blocks at the columns' places; those that nobody asks for have no tensor."""
    frame = [Block("", 1)] * inputs.total
    for position, block in zip(inputs.positions, blocks, strict=True):
        frame[position] = block
    return tuple(frame)


def _add_column(column: Column, inputs: Inputs, graph: GraphBuilder) -> Tensor:
    dtype = "string" if column.dtype == "string" else "float64"
    name = graph.add_input(column.name if column.name.strip("/") else "column", dtype, 1)
    return Tensor(name, dtype, (column.name,), "matrix", inputs.null_text if dtype == "string" else "")


def _computed(tensor: Tensor, graph: GraphBuilder) -> str:
    """The tensor in the dtype in which the graph computes."""
    is_right = tensor.dtype in ("string", graph.dtype.name)
    return tensor.name if is_right else graph.cast(tensor.name)
