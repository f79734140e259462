"""What flows between the steps of a pipeline: columns, kept as a few matrices side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlops_kit.exporters.sklearn.graph import GraphBuilder


@dataclass(frozen=True, slots=True)
class Block:
    """A matrix of shape (rows, width): numbers in the dtype in which the graph computes, or texts.

    `is_sparse` says that scikit-learn has a sparse matrix here, whose zeros XGBoost takes for missing values.
    """

    tensor: str
    width: int
    is_text: bool = False
    is_sparse: bool = False


Frame = tuple[Block, ...]
"""All columns that a step takes or gives, in order. Numbers and texts cannot share a tensor."""


def width_of(frame: Frame) -> int:
    """The number of columns.

    >>> width_of((Block("a", 2), Block("b", 1, is_text=True)))
    3
    """
    return sum(block.width for block in frame)


def pick(frame: Frame, indices: Sequence[int], graph: GraphBuilder) -> Frame:
    """Some of the columns, in the order of `indices`."""
    starts = np.cumsum([0, *(block.width for block in frame)])
    picked: list[tuple[int, list[int]]] = []
    for index in indices:
        owner = int(np.searchsorted(starts, index, side="right")) - 1
        if not picked or picked[-1][0] != owner:
            picked.append((owner, []))
        picked[-1][1].append(index - int(starts[owner]))
    return tuple(_columns(frame[owner], local, graph) for owner, local in picked)


def _columns(block: Block, indices: list[int], graph: GraphBuilder) -> Block:
    if indices == list(range(block.width)):
        return block
    tensor = graph.add("Gather", block.tensor, np.array(indices, np.int64), axis=1)
    return replace(block, tensor=tensor, width=len(indices))


def split(frame: Frame, graph: GraphBuilder) -> list[Block]:
    """Every column as a block of its own."""
    return [column for index in range(width_of(frame)) for column in pick(frame, [index], graph)]


def merge(frame: Frame, graph: GraphBuilder) -> Frame:
    """The same columns in as few blocks as possible: neighbours of the same kind become one."""
    groups: list[list[Block]] = []
    for block in frame:
        if not groups or groups[-1][0].is_text != block.is_text:
            groups.append([])
        groups[-1].append(block)
    return tuple(_joined(group, graph) for group in groups)


def _joined(group: list[Block], graph: GraphBuilder) -> Block:
    if len(group) == 1:
        return group[0]
    tensor = graph.add("Concat", *(block.tensor for block in group), axis=1)
    return replace(
        group[0], tensor=tensor, width=sum(block.width for block in group), is_sparse=is_sparse(tuple(group))
    )


def is_sparse(frame: Frame) -> bool:
    """Whether scikit-learn has a sparse matrix here: one sparse part makes the whole sparse."""
    return any(block.is_sparse for block in frame)


def marked(frame: Frame, *, is_sparse: bool) -> Frame:
    """The same columns as a sparse matrix, or as a dense one."""
    return tuple(replace(block, is_sparse=is_sparse) for block in frame)
