"""The fast path for one row given as Python values: a plan per tensor, compiled once from the signature.

A plan only takes values whose type leaves no doubt, and answers NotImplemented for the rest; `assembly.py`
then looks at the row, and either takes it or says what is wrong with it. Both give the same bits.
"""

from array import array
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np

from mlops_kit.assembly import assemble
from mlops_kit.errors import ColumnValueError, MissingColumnsError
from mlops_kit.schema import FLOATS, INTEGERS, Array, Column, Signature, Tensor

Row = Mapping[str, Any]
Plan = Callable[[Row], Any]
"""Row → tensor of one row, or NotImplemented. Raises KeyError for a missing column."""

UNUSUAL = (TypeError, ValueError, OverflowError)
PLAIN_TYPES = frozenset({int, float})
"""`array` takes whatever has __float__, such as a Decimal or True; columns of those are refused, and rows."""

CODES = {"float32": "f", "float64": "d", "int64": "q"}
INTEGER_CODES = dict(zip(INTEGERS, "bhiqBHIQ", strict=True))


class RowAssembler:
    """Assembles single rows for one signature."""

    __slots__ = ("_plans", "_signature")

    def __init__(self, signature: Signature) -> None:
        by_name = {column.name: column for column in signature.columns}
        self._signature = signature
        self._plans = [(tensor.name, _plan(tensor, by_name)) for tensor in signature.tensors]

    def assemble(self, row: Row) -> dict[str, Array]:
        """Every tensor of the graph, of one row. Raises as `assembly.assemble` does."""
        tensors = {}
        try:
            for name, plan in self._plans:
                tensor = plan(row)
                if tensor is NotImplemented:
                    return self._assemble_slowly(row)
                tensors[name] = tensor
        except (KeyError, *UNUSUAL):
            return self._assemble_slowly(row)
        return tensors

    def _assemble_slowly(self, row: Row) -> dict[str, Array]:
        names = [column.name for column in self._signature.columns]
        if missing := [name for name in names if name not in row]:
            raise MissingColumnsError(missing, row)
        columns = {column.name: _single(row[column.name], column) for column in self._signature.columns}
        return assemble(self._signature, columns)


def _plan(tensor: Tensor, by_name: Mapping[str, Column]) -> Plan:
    columns = [by_name[name] for name in tensor.columns]
    if any(column.shape for column in columns):
        return lambda _row: NotImplemented
    if tensor.layout == "array" or len(columns) == 1:
        return _plan_scalar(tensor, columns[0])
    if (
        tensor.dtype in FLOATS
        and tensor.dtype in CODES
        and all(c.dtype in FLOATS or c.dtype in INTEGERS for c in columns)
    ):
        return _plan_matrix(tensor, columns)
    return lambda _row: NotImplemented


def _plan_matrix(tensor: Tensor, columns: list[Column]) -> Plan:
    """Numbers side by side. `array` converts at C speed and refuses what is not a number."""
    get = itemgetter(*tensor.columns)
    code, dtype = CODES[tensor.dtype], np.dtype(tensor.dtype)
    checks = _integer_checks(columns)
    plain = PLAIN_TYPES
    always_present = not all(column.nullable or column.dtype in INTEGERS for column in columns)

    def plan(row: Row) -> Any:
        values = get(row)
        if not plain.issuperset(map(type, values)):
            return NotImplemented
        for indices, integer_code in checks:
            array(integer_code, indices(values))
        matrix = np.frombuffer(array(code, values), dtype).reshape(1, -1)
        if always_present and np.isnan(matrix.sum()):
            return NotImplemented
        return matrix

    return plan


def _integer_checks(columns: list[Column]) -> list[tuple[Callable[[Any], Any], str]]:
    """For each integer dtype, the values of it; building an array of them checks type and range."""
    checks: list[tuple[Callable[[Any], Any], str]] = []
    for dtype in sorted({column.dtype for column in columns if column.dtype in INTEGERS}):
        indices = [index for index, column in enumerate(columns) if column.dtype == dtype]
        # A slice of one keeps the result a sequence where itemgetter(i) would give the bare value.
        where = indices if len(indices) > 1 else [slice(indices[0], indices[0] + 1)]
        checks.append((itemgetter(*where), INTEGER_CODES[dtype]))
    return checks


def _plan_scalar(tensor: Tensor, column: Column) -> Plan:
    name, shape = column.name, (1,) if tensor.layout == "array" else (1, 1)
    accepted, make = _SCALARS.get((_kind(column.dtype), tensor.dtype), (None, None))
    if accepted is None or make is None:
        return lambda _row: NotImplemented
    nullable = column.nullable

    def plan(row: Row) -> Any:
        value = row[name]
        if type(value) is not accepted or not (nullable or value == value):
            return NotImplemented
        return make(value).reshape(shape)

    return plan


def _kind(dtype: str) -> str:
    return "float" if dtype in FLOATS else dtype


def _text(value: str) -> Array:
    return np.array((value,), object)


def _number(dtype: str) -> Callable[[Any], Array]:
    # `array` converts without NumPy's warning where a number is too large for float32.
    code, numpy_dtype = CODES[dtype], np.dtype(dtype)
    return lambda value: np.frombuffer(array(code, (value,)), numpy_dtype)


_SCALARS: Mapping[tuple[str, str], tuple[type, Callable[[Any], Array]]] = {
    ("string", "string"): (str, _text),
    ("float", "float32"): (float, _number("float32")),
    ("float", "float64"): (float, _number("float64")),
    ("int64", "int64"): (int, _number("int64")),
    ("int64", "float64"): (int, lambda value: _number("int64")(value).astype(np.float64)),
    ("bool", "bool"): (bool, lambda value: np.array((value,), bool)),
}
"""(column's kind, tensor's dtype) → the one Python type that leaves no doubt, and how it becomes an array."""


def _single(value: Any, column: Column) -> Array:
    """A column of one row. Object dtype keeps the value's type, so that it can be judged."""
    if isinstance(value, np.ndarray):
        return value[np.newaxis]
    if column.shape:
        return _nested(value, column)
    single = np.empty(1, object)
    single[0] = value
    return single


def _nested(value: Any, column: Column) -> Array:
    try:
        nested = np.asarray(value)
        if nested.dtype.kind not in "fiub":
            nested = np.array(value, object)
    except ValueError as error:
        raise ColumnValueError(column.name, "lists of equal lengths", "lists of different lengths", 0) from error
    return nested[np.newaxis]
