"""Tensors of the Open Inference Protocol, and the columns that they are.

https://github.com/open-inference/open-inference-protocol: datatypes, shapes, and BYTES elements, each of which
has its length before it, in four bytes, little-endian.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_kit.errors import InputError, MissingColumnsError, listed
from mlops_kit.modes.online.served_model import Request, ServedModel
from mlops_kit.schema import Array

DATATYPES = {
    "BOOL": "bool",
    **{f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "BYTES": "string",
}
"""The protocol's name of each dtype."""

NAMES = {dtype: name for name, dtype in DATATYPES.items()}
LITTLE = {dtype: np.dtype(dtype).newbyteorder("<") for dtype in NAMES if dtype != "string"}
"""How numbers are in the binary representation."""

NAMES_OF_ARRAYS: dict[Any, str] = {np.dtype(dtype): name for dtype, name in NAMES.items() if dtype != "string"} | {
    np.dtype(object): "BYTES"
}
MOST_DIMENSIONS = 16
MOST_ELEMENTS = 2**48
MOST_OF_NOTHING = 4096
"""How many rows may have no elements: the model would make an answer for each."""

LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class InputTensor:
    """A named array, whose first dimension is the rows; text is in object arrays of `str`."""

    name: str
    values: Array


def check_shape(name: str, datatype: Any, shape: Any) -> tuple[str, tuple[int, ...], int]:
    """The dtype, the shape, and how many elements that is. Raises InputError."""
    dtype = DATATYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise InputError(f"input {name!r} has no datatype of the protocol", f"there are {', '.join(DATATYPES)}")
    is_shape = isinstance(shape, (list, tuple)) and 0 < len(shape) <= MOST_DIMENSIONS
    if not is_shape or not all(type(size) is int and size >= 0 for size in shape):
        raise InputError(f"the shape of input {name!r} is no list of sizes")
    # NumPy refuses such a shape even where another size is 0.
    if math.prod(max(1, size) for size in shape) > MOST_ELEMENTS:
        raise InputError(f"the shape of input {name!r} says too many elements")
    count = math.prod(shape)
    if not count and max(shape) > MOST_OF_NOTHING:
        raise InputError(f"the shape {list(shape)} of input {name!r} has sizes, but no elements")
    return dtype, tuple(shape), count


def from_list(name: str, dtype: str, shape: tuple[int, ...], count: int, data: Any) -> InputTensor:
    """A tensor whose elements are Python values, flat or nested as the shape is; null is a missing one."""
    if not isinstance(data, list):
        raise InputError(f"input {name!r} has no data")
    flat = data if len(shape) == 1 and len(data) == count else _flatten(name, data, count)
    if len(flat) != count:
        raise InputError(f"input {name!r} has {len(flat)} elements", f"its shape {list(shape)} says {count}")
    try:
        values = _array(flat, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"input {name!r} has an element that is not of its datatype") from error
    return InputTensor(name, values.reshape(shape))


def from_bytes(name: str, dtype: str, shape: tuple[int, ...], count: int, data: bytes | memoryview) -> InputTensor:
    """A tensor in the binary representation."""
    if dtype == "string":
        return InputTensor(name, _texts(name, data, count).reshape(shape))
    little = LITTLE[dtype]
    if len(data) != count * little.itemsize:
        why = f"its shape and datatype say {count * little.itemsize}"
        raise InputError(f"input {name!r} has {len(data)} bytes", why)
    return InputTensor(name, np.frombuffer(data, little).reshape(shape))


def to_bytes(values: Array) -> bytes:
    """The binary representation of an output."""
    if values.dtype == object:
        encoded = [str(value).encode() for value in values.flat]
        return b"".join(part for text in encoded for part in (LENGTH.pack(len(text)), text))
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def datatype_of(values: Array) -> str:
    """The protocol's name of an output's dtype."""
    return NAMES_OF_ARRAYS[values.dtype]


def request_of(model: ServedModel, tensors: Sequence[InputTensor]) -> Request:
    """The model's rows: a tensor for each column, or one matrix of all of them in the signature's order."""
    columns = model.signature.columns
    by_name = {tensor.name: tensor.values for tensor in tensors}
    if len(by_name) < len(tensors):
        raise InputError("two inputs have the same name")
    names = [column.name for column in columns]
    if len(tensors) == 1 and len(model.needed) > 1 and tensors[0].name not in names:
        return _request_of_matrix(model, tensors[0])
    if missing := [column.name for column in model.needed if column.name not in by_name]:
        raise MissingColumnsError(missing, by_name)
    if unknown := [name for name in by_name if name not in names]:
        raise InputError(f"the model has no input {listed(unknown)}", f"it has {listed(names)}")
    if all(values.size == 1 and values.ndim < 3 for values in by_name.values()) and not any(
        column.shape for column in columns
    ):
        return model.row({name: values.item() for name, values in by_name.items()})
    shaped = {
        column.name: _without_last(by_name[column.name]) if not column.shape else by_name[column.name]
        for column in columns
        if column.name in by_name
    }
    return model.columns(shaped)


def _request_of_matrix(model: ServedModel, tensor: InputTensor) -> Request:
    columns, values = model.needed, tensor.values
    if values.ndim != 2 or values.shape[1] != len(columns):
        why = f"the model takes {len(columns)} columns: shape [rows, {len(columns)}], or one input for each"
        raise InputError(f"input {tensor.name!r} has the shape {list(values.shape)}", why)
    if len(values) == 1:
        return model.row({column.name: value for column, value in zip(columns, values[0].tolist(), strict=True)})
    return model.columns({column.name: values[:, index] for index, column in enumerate(columns)})


def _without_last(values: Array) -> Array:
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _flatten(name: str, data: list[Any], most: int) -> list[Any]:
    """Depth first. Ends as soon as there are too many, or too deep."""
    flat: list[Any] = []
    stack = [iter(data)]
    while stack:
        for value in stack[-1]:
            if isinstance(value, list):
                if len(stack) >= MOST_DIMENSIONS:
                    raise InputError(f"the data of input {name!r} is nested too deeply")
                stack.append(iter(value))
                break
            flat.append(value)
        else:
            stack.pop()
        if len(flat) > most:
            break
    return flat


def _array(flat: list[Any], dtype: str) -> Array:
    if dtype == "string":
        if not all(type(value) is str or value is None for value in flat):
            raise TypeError
        values = np.empty(len(flat), object)
        values[:] = flat
        return values
    if dtype == "bool":
        if not all(type(value) is bool for value in flat):
            raise TypeError
        return np.array(flat, bool)
    if dtype.startswith("float"):
        if not all(type(value) in (float, int) or value is None for value in flat):
            raise TypeError
        with np.errstate(over="ignore"):
            return np.array([math.nan if value is None else value for value in flat], np.float64).astype(dtype)
    if not all(type(value) is int for value in flat):
        raise TypeError
    return np.array(flat, dtype)


def _texts(name: str, data: bytes | memoryview, count: int) -> Array:
    values = np.empty(min(count, len(data) // LENGTH.size), object)
    position = 0
    try:
        for index in range(count):
            (length,) = LENGTH.unpack_from(data, position)
            position += LENGTH.size
            text = data[position : position + length]
            if len(text) < length:
                raise InputError(f"input {name!r} ends in the middle of an element")
            values[index] = bytes(text).decode()
            position += length
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise InputError(f"input {name!r} is no {count} elements of UTF-8 text") from error
    if position != len(data):
        raise InputError(f"input {name!r} has more bytes than its {count} elements")
    return values
