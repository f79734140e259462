"""Columns and outputs as JSON Schema."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlops_kit.modes.online.protocols.oip_tensors import NAMES
from mlops_kit.schema import FLOATS, INTEGERS, Column, Output

Json = Mapping[str, Any]

FLOAT_FORMATS = {"float32": "float", "float64": "double"}
EMPTY = {"bool": False, "string": ""}
"""What stands for a missing value in a tensor, which has no null; a number is 0."""


def value_schema(column: Column) -> dict[str, Any]:
    """One row's value."""
    schema = _scalar(column.dtype)
    if column.nullable:
        schema["type"] = [schema["type"], "null"]
    return _in_arrays(schema, column.shape)


def output_schema(output: Output) -> dict[str, Any]:
    """One row's value. JSON has no NaN and no infinity: they are null."""
    schema = _scalar(output.dtype)
    if output.dtype in FLOATS:
        schema["type"] = ["number", "null"]
    return _in_arrays(schema, output.shape)


def row_schema(columns: Sequence[Column], optional: Collection[str] = ()) -> dict[str, Any]:
    """An object with a value for each column but `optional` ones; others are ignored."""
    return {
        "type": "object",
        "required": [column.name for column in columns if column.name not in optional],
        "properties": {
            column.name: value_schema(replace(column, nullable=True) if column.name in optional else column)
            for column in columns
        },
    }


def tensor_example(value: Any, part: Column | Output) -> dict[str, Any]:
    """A row's value as a tensor of the Open Inference Protocol."""
    shape, data = [1, *_shape_of(value)], _flat(value, EMPTY.get(part.dtype, 0))
    return {"name": part.name, "datatype": NAMES[part.dtype], "shape": shape, "data": data}


def _shape_of(value: Any) -> list[int]:
    return [len(value), *_shape_of(value[0])] if isinstance(value, list) and value else []


def _flat(value: Any, empty: Any) -> list[Any]:
    if isinstance(value, list):
        return [one for part in value for one in _flat(part, empty)]
    return [empty if value is None else value]


def _scalar(dtype: str) -> dict[str, Any]:
    if dtype in INTEGERS:
        limits = np.iinfo(dtype)
        return {"type": "integer", "format": dtype, "minimum": int(limits.min), "maximum": int(limits.max)}
    if dtype in FLOATS:
        return {"type": "number"} | ({"format": FLOAT_FORMATS[dtype]} if dtype in FLOAT_FORMATS else {})
    return {"type": {"bool": "boolean", "string": "string"}[dtype]}


def _in_arrays(schema: dict[str, Any], shape: Sequence[int | None]) -> dict[str, Any]:
    for size in reversed(shape):
        schema = {"type": "array", "items": schema}
        if size is not None:
            schema |= {"minItems": size, "maxItems": size}
    return schema
