"""The audit of model.onnx, before any runtime sees it: where its external data lies and what it calls."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from math import prod

import onnx
from google.protobuf.message import DecodeError

from mlops_kit.errors import BundleError

FILE_NAME = "model.onnx"
MAX_BYTES = 2**31 - 1
"""Protocol buffers hold at most 2 GiB; larger weights are external."""

RUNTIME_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""The operator domains that ONNX Runtime's CPU build implements and mlkit allows."""


def parse_graph(data: bytes) -> onnx.ModelProto:
    """Parse model.onnx without touching its external data."""
    try:
        return onnx.load_model_from_string(data)
    except DecodeError as error:
        raise BundleError(FILE_NAME, "it is not an ONNX model, or it is truncated") from error


def check_graph(model: onnx.ModelProto, sizes: Mapping[str, int]) -> None:
    """Refuse foreign operators and external data outside of the files in `sizes` (name → bytes)."""
    if foreign := foreign_operators(model):
        domain, operator = foreign[0]
        raise BundleError(FILE_NAME, f"operator {operator} of domain {domain!r} is not one that the runtime has")
    spans: dict[str, list[tuple[int, int, str]]] = {}
    for tensor in external_tensors(model):
        location, start, length = _external_span(tensor, sizes)
        spans.setdefault(location, []).append((start, start + length, tensor.name))
    for location, found in spans.items():
        found.sort()
        for (_, end, first), (start, _, second) in pairwise(found):
            if start < end:
                raise BundleError(FILE_NAME, f"tensors {first!r} and {second!r} overlap in {location}")


def foreign_operators(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """(domain, operator) of every node that neither the runtime nor the model itself defines."""
    local = {(function.domain, function.name) for function in model.functions}
    return [
        (node.domain, node.op_type)
        for node in walk_nodes(model)
        if node.domain not in RUNTIME_DOMAINS and (node.domain, node.op_type) not in local
    ]


def walk_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node of the graph, of its subgraphs and of its functions."""
    yield from _walk(model.graph.node)
    for function in model.functions:
        yield from _walk(function.node)
        for graph in _subgraphs(function.attribute_proto):
            yield from _walk(graph.node)


def _walk(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for graph in _subgraphs(node.attribute):
            yield from _walk(graph.node)


def _subgraphs(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.GraphProto]:
    for attribute in attributes:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor whose data lies in another file."""
    return (tensor for tensor in walk_tensors(model) if _is_external(tensor))


def walk_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor stored in the model: initializers, sparse ones, and those in node attributes."""
    defaults = [attribute for function in model.functions for attribute in function.attribute_proto]
    attributes = [*defaults, *(attribute for node in walk_nodes(model) for attribute in node.attribute)]
    graphs = [model.graph, *_subgraphs(attributes)]
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield sparse.values
            yield sparse.indices


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data) > 0


def _external_span(tensor: onnx.TensorProto, sizes: Mapping[str, int]) -> tuple[str, int, int]:
    fields = {entry.key: entry.value for entry in tensor.external_data}
    if len(fields) != len(tensor.external_data):
        raise BundleError(FILE_NAME, f"tensor {tensor.name!r} says twice where it lies")
    location = fields.get("location", "")
    if location not in sizes or location == FILE_NAME:
        raise BundleError(
            FILE_NAME, f"tensor {tensor.name!r} lies in {location!r}, which is no data file of the bundle"
        )
    try:
        offset, length = int(fields.get("offset", "0")), int(fields["length"])
        expected = prod(tensor.dims) * _bits(tensor.data_type) // 8
    except (KeyError, ValueError) as error:
        raise BundleError(FILE_NAME, f"tensor {tensor.name!r} has no readable offset, length and type") from error
    if offset < 0 or length < 0 or min(tensor.dims, default=0) < 0 or offset + length > sizes[location]:
        raise BundleError(
            FILE_NAME,
            f"tensor {tensor.name!r} reaches from byte {offset} to {offset + length} of {location}, "
            f"which has {sizes[location]} bytes",
        )
    if length != expected:
        raise BundleError(FILE_NAME, f"tensor {tensor.name!r} needs {expected} bytes and refers to {length}")
    return location, offset, length


def _bits(data_type: int) -> int:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(data_type)
    if dtype.hasobject:
        raise ValueError("strings cannot be external")
    return dtype.itemsize * 8
