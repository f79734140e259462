"""What a model takes and gives: its input columns, the tensors they become, and its output columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Columns: TypeAlias = Mapping[str, Array]
"""Columns of equal length by name: shape (rows,), or (rows, *shape) for tensor inputs.

Strings are object arrays of `str`, with None where the value is missing; a missing float is NaN.
"""

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = ("bool", *INTEGERS, *FLOATS, "string")
"""The dtypes of columns and tensors; all but "string" are NumPy's names."""


@dataclass(frozen=True, slots=True)
class Column:
    """One input column, as callers give it.

    `shape` is the shape of one row's value: () for a scalar, with None for a dimension that varies.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] = ()
    nullable: bool = False

    @property
    def expected(self) -> str:
        """What the column takes, for a message: "a whole number", "text"."""
        if self.dtype in FLOATS:
            return "a number"
        return {"bool": "true or false", "string": "text"}.get(self.dtype, "a whole number")

    @property
    def expected_range(self) -> str:
        """The same, for who gave a number that is too small or too large: "a whole number from 0 to 255"."""
        if self.dtype not in INTEGERS:
            return self.expected
        limits = np.iinfo(self.dtype)
        return f"{self.expected} from {limits.min} to {limits.max}"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input tensor of the graph and the columns that it is assembled from.

    - "matrix": scalar columns side by side, shape (rows, len(columns));
    - "array": the one column as it is, shape (rows, *column.shape).

    `null_text` is what a missing string becomes, because a string tensor has no null.
    """

    name: str
    dtype: str
    columns: tuple[str, ...]
    layout: Literal["matrix", "array"]
    null_text: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """One output column and the graph output that it is read from.

    With `index`, it is that column of a matrix output of shape (rows, k); a scalar output of shape
    (rows, 1) is flattened. `shape` is the shape of one row's value.
    """

    name: str
    dtype: str
    tensor: str
    index: int | None = None
    shape: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """How columns become tensors and how outputs become columns; decided once, at export."""

    columns: tuple[Column, ...]
    tensors: tuple[Tensor, ...]
    outputs: tuple[Output, ...]
