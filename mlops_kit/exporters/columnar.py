"""A graph whose inputs and outputs are the columns themselves.

Converters give one input of shape (rows, 1) per column and one matrix of probabilities. MLflow, and anybody
with a data frame, feeds a graph one-dimensional columns and reads one-dimensional columns; so the graph gets
those, of the column's own dtype, and does the reshaping inside. It also spares the caller a copy.
"""

from dataclasses import dataclass, field, replace

import onnx
from onnx import TensorProto, helper

from mlops_kit.exporters.interface import Conversion
from mlops_kit.schema import INTEGERS, Column, Output, Signature, Tensor

MOST_COLUMNS = 100
"""A classifier of more classes keeps its matrix: a thousand graph outputs cost more than they explain."""

ELEMENT_TYPES = {
    "bool": TensorProto.BOOL, "int64": TensorProto.INT64, "string": TensorProto.STRING,
    "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16,
    "int32": TensorProto.INT32,
}  # fmt: skip


@dataclass(slots=True)
class _Rewrite:
    """What is added before and behind the converter's graph."""

    before: list[onnx.NodeProto] = field(default_factory=list)
    behind: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)


def expose_columns(conversion: Conversion) -> Conversion:
    """The same model with columns as graph inputs (where it has several) and as graph outputs."""
    graph = onnx.ModelProto()
    graph.CopyFrom(conversion.graph)
    rewrite = _Rewrite()
    signature = conversion.signature
    if len(signature.tensors) > 1:
        signature = _expose_inputs(graph.graph, signature, rewrite)
    signature = _expose_outputs(graph.graph, signature, rewrite)
    nodes = [*rewrite.before, *graph.graph.node, *rewrite.behind]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(rewrite.constants.values())
    return Conversion(graph, signature, conversion.variant)


def _expose_inputs(graph: onnx.GraphProto, signature: Signature, rewrite: _Rewrite) -> Signature:
    by_name = {column.name: column for column in signature.columns}
    tensors = [
        _expose_input(graph, tensor, by_name[tensor.columns[0]], rewrite)
        if tensor.layout == "matrix" and len(tensor.columns) == 1
        else tensor
        for tensor in signature.tensors
    ]
    return replace(signature, tensors=tuple(tensors))


def _expose_input(graph: onnx.GraphProto, tensor: Tensor, column: Column, rewrite: _Rewrite) -> Tensor:
    dtype = "int64" if column.dtype in INTEGERS else column.dtype
    inner = f"{tensor.name}__matrix"
    for node in graph.node:
        _rename_inputs(node, tensor.name, inner)
    for output in graph.output:
        if output.name == tensor.name:
            rewrite.behind.append(helper.make_node("Identity", [inner], [output.name]))
    value = next(value for value in graph.input if value.name == tensor.name)
    value.CopyFrom(helper.make_tensor_value_info(tensor.name, ELEMENT_TYPES[dtype], ["rows"]))
    source = tensor.name
    if dtype != tensor.dtype:
        cast = f"{tensor.name}__cast"
        rewrite.before.append(helper.make_node("Cast", [source], [cast], to=ELEMENT_TYPES[tensor.dtype]))
        source = cast
    _constant(rewrite, "columns__shape", [-1, 1])
    rewrite.before.append(helper.make_node("Reshape", [source, "columns__shape"], [inner]))
    return Tensor(tensor.name, dtype, tensor.columns, "array", tensor.null_text)


def _rename_inputs(node: onnx.NodeProto, old: str, new: str) -> None:
    for index, name in enumerate(node.input):
        if name == old:
            node.input[index] = new
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs] if attribute.HasField("g") or attribute.graphs else []:
            for inner in graph.node:
                _rename_inputs(inner, old, new)


def _expose_outputs(graph: onnx.GraphProto, signature: Signature, rewrite: _Rewrite) -> Signature:
    if sum(output.index is not None for output in signature.outputs) > MOST_COLUMNS:
        return signature
    taken = {value.name for value in graph.output}
    clashing = taken & {output.name for output in signature.outputs if output.index is not None}
    if clashing:
        return signature
    values = {value.name: value for value in graph.output}
    exposed, results = [], []
    for output in signature.outputs:
        info, result = _expose_output(graph, values[output.tensor], output, rewrite)
        exposed.append(info)
        results.append(result)
    del graph.output[:]
    graph.output.extend(exposed)
    return replace(signature, outputs=tuple(results))


def _expose_output(
    graph: onnx.GraphProto, value: onnx.ValueInfoProto, output: Output, rewrite: _Rewrite
) -> tuple[onnx.ValueInfoProto, Output]:
    if output.index is not None:
        index = _constant(rewrite, f"column__{output.index}", output.index)
        rewrite.behind.append(helper.make_node("Gather", [output.tensor, index], [output.name], axis=1))
    elif not output.shape and len(value.type.tensor_type.shape.dim) == 2:
        inner = f"{output.tensor}__matrix"
        _rename_value(graph, output.tensor, inner)
        _constant(rewrite, "rows__shape", [-1])
        rewrite.behind.append(helper.make_node("Reshape", [inner, "rows__shape"], [output.name]))
    else:
        return value, output
    info = helper.make_tensor_value_info(output.name, value.type.tensor_type.elem_type, ["rows"])
    return info, Output(output.name, output.dtype, output.name)


def _rename_value(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        _rename_inputs(node, old, new)
        for index, name in enumerate(node.output):
            if name == old:
                node.output[index] = new


def _constant(rewrite: _Rewrite, name: str, value: int | list[int]) -> str:
    shape = [len(value)] if isinstance(value, list) else []
    values = value if isinstance(value, list) else [value]
    rewrite.constants[name] = helper.make_tensor(name, TensorProto.INT64, shape, values)
    return name
