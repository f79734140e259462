"""Parameter values and definition apart: weights.safetensors, and the model.onnx that refers into it."""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import EncodeError, Message
from safetensors.numpy import save_file

from mlops_kit.bundle.graph import FILE_NAME, MAX_BYTES, walk_nodes
from mlops_kit.bundle.manifest import Parameters
from mlops_kit.errors import ConversionError
from mlops_kit.schema import Array

WEIGHTS_NAME = "weights.safetensors"
SMALL_BYTES = 256
"""Integer tensors below this are shapes, axes and indices: part of the definition."""

FLOATS = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
    }
)
INTEGERS = frozenset(
    {
        onnx.TensorProto.BOOL,
        onnx.TensorProto.INT8,
        onnx.TensorProto.INT16,
        onnx.TensorProto.INT32,
        onnx.TensorProto.INT64,
        onnx.TensorProto.UINT8,
        onnx.TensorProto.UINT16,
        onnx.TensorProto.UINT32,
        onnx.TensorProto.UINT64,
    }
)

SHAPE_OPERATORS = frozenset({"Resize", "Upsample"})
"""Operators with small float inputs that shape inference reads; it cannot read external data."""


def split_weights(graph: onnx.ModelProto, directory: Path) -> None:
    """Write `graph` into `directory`, its weights apart. The same graph gives the same bytes.

    `graph` holds all of its values itself, and is left as it is. Subgraphs keep theirs inline.
    Raises ConversionError where the definition alone exceeds what a protocol buffer can hold.
    """
    weights = {tensor.name: _contiguous(tensor) for tensor in _weights(graph)}
    spans = _write_weights(weights, directory / WEIGHTS_NAME) if weights else {}
    definition = _refer(graph, spans)
    (directory / FILE_NAME).write_bytes(_serialize(definition))


def _serialize(definition: onnx.ModelProto) -> bytes:
    try:
        data: bytes = definition.SerializeToString(deterministic=True)
    except (EncodeError, ValueError):
        data = b""
    if not 0 < len(data) <= MAX_BYTES:
        raise ConversionError(
            "the model's definition is larger than 2 GiB",
            "a protocol buffer holds no more, even with the weights apart",
        )
    return data


def count_parameters(graph: onnx.ModelProto) -> Parameters:
    """How many parameter values lie in initializers, and how many numbers in the attributes of ML operators.

    Tree ensembles, linear models, SVMs and scalers of the ai.onnx.ml domain keep theirs in node attributes.
    Reads sizes only, so external data need not be there.
    """
    counts = [(math.prod(tensor.dims), _itemsize(tensor)) for tensor in _weights(graph)]
    numbers = (
        _count_numbers(attribute)
        for node in walk_nodes(graph)
        if node.domain == "ai.onnx.ml"
        for attribute in node.attribute
    )
    return Parameters(
        weights_tensors=len(counts),
        weights_values=sum(values for values, _ in counts),
        weights_bytes=sum(values * size for values, size in counts),
        attribute_values=sum(numbers),
    )


def _weights(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    shaping = _inputs_of(model.graph.node, SHAPE_OPERATORS)
    # "__metadata__" is a key of the safetensors header.
    excluded = {"", "__metadata__", *shaping}
    return (t for t in model.graph.initializer if t.name not in excluded and _is_parameter(t))


def _is_parameter(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor is neither text, nor a constant that only shapes depend on."""
    if 0 in tensor.dims:
        return False
    if tensor.data_type in FLOATS:
        return len(tensor.dims) > 0
    return tensor.data_type in INTEGERS and math.prod(tensor.dims) * _itemsize(tensor) >= SMALL_BYTES


def _itemsize(tensor: onnx.TensorProto) -> int:
    return onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _inputs_of(nodes: Iterable[onnx.NodeProto], operators: frozenset[str]) -> set[str]:
    # The first input is the image or the feature map, which may well be a weight.
    return {name for node in nodes if node.op_type in operators for name in node.input[1:]}


def _contiguous(tensor: onnx.TensorProto) -> Array:
    # safetensors writes an array's memory as it lies, whatever its strides.
    return np.ascontiguousarray(onnx.numpy_helper.to_array(tensor))


def _write_weights(weights: dict[str, Array], path: Path) -> dict[str, tuple[int, int]]:
    """Write the file. Returns each tensor's offset and length in it."""
    save_file(dict(sorted(weights.items())), path)
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(header_bytes))
    start = 8 + header_bytes
    return {
        name: (start + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0])
        for name, entry in header.items()
    }


def _refer(model: onnx.ModelProto, spans: dict[str, tuple[int, int]]) -> onnx.ModelProto:
    """A copy of the model in which the tensors of `spans` lie in the weights file. Copies no values."""
    definition = onnx.ModelProto()
    _copy_fields(model, definition, but="graph")
    _copy_fields(model.graph, definition.graph, but="initializer")
    for tensor in model.graph.initializer:
        if tensor.name not in spans:
            definition.graph.initializer.append(tensor)
            continue
        reference = definition.graph.initializer.add(
            name=tensor.name,
            dims=tensor.dims,
            data_type=tensor.data_type,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        offset, length = spans[tensor.name]
        for key, value in (("location", WEIGHTS_NAME), ("offset", str(offset)), ("length", str(length))):
            reference.external_data.add(key=key, value=value)
    return definition


def _copy_fields(source: Message, target: Message, but: str) -> None:
    for field, value in source.ListFields():
        if field.name == but:
            continue
        if isinstance(value, Message):
            getattr(target, field.name).CopyFrom(value)
        elif isinstance(value, (str, bytes, int, float)):
            setattr(target, field.name, value)
        else:
            getattr(target, field.name).extend(value)


def _count_numbers(attribute: onnx.AttributeProto) -> int:
    tensors = [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]
    sizes: list[int] = [math.prod(tensor.dims) for tensor in tensors]
    return len(attribute.floats) + len(attribute.ints) + sum(sizes)
