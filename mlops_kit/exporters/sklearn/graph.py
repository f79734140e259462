"""Build an ONNX graph node by node: names, constants, and the splicing in of whole graphs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlops_kit.schema import Array

OPSETS = {"": 21, "ai.onnx.ml": 5, "com.microsoft": 1}

IR_VERSION = 10
ML = "ai.onnx.ml"

Operand = str | Array
"""The name of a tensor, or a constant."""


class GraphBuilder:
    """Nodes in the order in which they were added, which is a topological one.

    `dtype`, float64 or float32, is the one in which the graph computes: every floating constant becomes it.
    `reserved` are the names of output columns, which no input may have.
    """

    def __init__(self, dtype: str, reserved: Iterable[str] = ()) -> None:
        self.dtype = np.dtype(dtype)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._taken: set[str] = set()
        self._reserved = frozenset(reserved)
        self._counts: dict[str, int] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._computed: dict[str, str] = {}
        self._products: set[str] = set()
        self._scaled: set[str] = set()

    @property
    def elem_type(self) -> int:
        """ONNX's number for the dtype in which the graph computes."""
        return int(helper.np_dtype_to_tensor_dtype(self.dtype))

    def unique_name(self, hint: str) -> str:
        """`hint` itself if it is free, else with the first free number behind it.

        Names inside of the graph begin with "/", so that they seldom meet a column's.
        """
        name = hint
        while name in self._taken:
            self._counts[hint] = self._counts.get(hint, 0) + 1
            name = f"{hint}_{self._counts[hint]}"
        self._taken.add(name)
        return name

    def add_input(self, hint: str, dtype: str, width: int) -> str:
        """A graph input of shape (rows, width)."""
        name = self.unique_name(f"input_{hint}" if hint in self._reserved else hint)
        self.inputs.append(helper.make_tensor_value_info(name, elem_type_of(dtype), ["rows", width]))
        return name

    def add_output(self, hint: str, tensor: str, dtype: str, width: int | None) -> str:
        """A graph output of shape (rows, width), or (rows,) without a width."""
        name = self.unique_name(hint)
        self.nodes.append(helper.make_node("Identity", [tensor], [name], name=name))
        shape: list[str | int] = ["rows"] if width is None else ["rows", width]
        self.outputs.append(helper.make_tensor_value_info(name, elem_type_of(dtype), shape))
        return name

    def add(self, operator: str, *operands: Operand, domain: str = "", **attributes: Any) -> str:
        """One node with one output, whose name it returns; the same node is not added twice."""
        inputs = [operand if isinstance(operand, str) else self.constant(operand) for operand in operands]
        if operator == "MatMul":
            inputs = [self._behind_barrier(name) if name in self._scaled else name for name in inputs]
        is_scaled = operator in ("Div", "Mul") and any(_is_inexact(operand, operator) for operand in operands)
        if is_scaled:
            inputs = [self._behind_barrier(name) if name in self._products else name for name in inputs]
        key = repr((domain, operator, inputs, sorted(attributes.items())))
        if key not in self._computed:
            output = self._computed[key] = self.unique_name(f"/{operator}")
            self.nodes.append(
                helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes)
            )
            self._scaled.update([output] if is_scaled else [])
            self._products.update([output] if operator == "MatMul" else [])
        return self._computed[key]

    def _behind_barrier(self, name: str) -> str:
        """The same tensor, as the result of a node that does nothing.

        ONNX Runtime merges a factor into the matrix product beside it, and makes it a float32 on the way.
        """
        return self.add("Sum", name)

    def add_node(self, node: onnx.NodeProto) -> None:
        """A node made elsewhere, with names from `unique_name`."""
        self.nodes.append(node)

    def constant(self, values: Array) -> str:
        """The name of a constant; equal ones are stored once."""
        values = np.asarray(values)
        if values.dtype.kind == "f":
            values = values.astype(self.dtype)
        if values.dtype.kind in "OU":
            return self._text_constant(values)
        return self._store(numpy_helper.from_array(np.ascontiguousarray(values)))

    def _text_constant(self, values: Array) -> str:
        texts = np.array([str(value) for value in values.flat], object).reshape(values.shape)
        return self._store(numpy_helper.from_array(texts))

    def _store(self, tensor: onnx.TensorProto) -> str:
        key = (str(tensor.data_type), tuple(tensor.dims), tensor.SerializeToString(deterministic=True))
        if key not in self._constants:
            tensor.name = self._constants[key] = self.unique_name("/constant")
            self.initializers.append(tensor)
        return self._constants[key]

    def cast(self, tensor: str, dtype: str | None = None) -> str:
        """The tensor in another dtype; without one, in the graph's."""
        return self.add("Cast", tensor, to=self.elem_type if dtype is None else elem_type_of(dtype))

    def splice(self, graph: onnx.GraphProto, inputs: Mapping[str, str]) -> list[str]:
        """Copy a whole graph in, with `inputs` (its name → ours) joined; returns our names of its outputs."""
        names = dict(inputs)
        for tensor in graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            names[tensor.name] = self.unique_name("/constant")
            copy.name = names[tensor.name]
            self.initializers.append(copy)
        for node in graph.node:
            self.nodes.append(self._renamed(node, names))
        return [names[output.name] for output in graph.output]

    def _renamed(self, node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for output in node.output:
            if output:
                names[output] = self.unique_name(f"/{node.op_type}")
        copy.input[:] = [names[name] if name else "" for name in node.input]
        copy.output[:] = [names[name] if name else "" for name in node.output]
        copy.name = next(name for name in copy.output if name)
        copy.doc_string = ""
        for attribute in copy.attribute:
            if attribute.HasField("g"):
                self._rename_body(attribute.g, names)
        return copy

    def _rename_body(self, body: onnx.GraphProto, outer: Mapping[str, str]) -> None:
        """A subgraph sees the names around it; its own ones are renamed too, so that none hides another."""
        names = dict(outer)
        for tensor in (*body.input, *body.initializer):
            names[tensor.name] = self.unique_name("/body")
            tensor.name = names[tensor.name]
        nodes = [self._renamed(node, names) for node in body.node]
        del body.node[:]
        body.node.extend(nodes)
        for output in body.output:
            output.name = names[output.name]
        body.name = self.unique_name("/body")

    def model(self) -> onnx.ModelProto:
        """The finished model, without nodes that lead nowhere; the same calls give the same bytes."""
        nodes, used_names = _needed(self.nodes, [output.name for output in self.outputs])
        constants = [tensor for tensor in self.initializers if tensor.name in used_names]
        graph = helper.make_graph(nodes, "model", self.inputs, self.outputs, constants)
        used = {node.domain for node in _walk(nodes)} | {""}
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items() if domain in used]
        return helper.make_model(graph, producer_name="mlkit", ir_version=IR_VERSION, opset_imports=opsets)


def row_sum(values: str, width: int, graph: GraphBuilder) -> str:
    """The sum of each row of a matrix; shape (rows, 1).

    Not by ReduceSum, which adds in an order that depends on where in memory a row begins.
    """
    return graph.add("MatMul", values, np.ones((width, 1)))


def elem_type_of(dtype: str) -> int:
    """ONNX's number for one of `schema.DTYPES`."""
    if dtype == "string":
        return int(TensorProto.STRING)
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def numbers_attribute(name: str, values: Array) -> onnx.AttributeProto:
    """A long list of whole numbers."""
    attribute = onnx.AttributeProto(name=name, type=onnx.AttributeProto.INTS)
    attribute.ints.extend(values.tolist())
    return attribute


def texts_attribute(name: str, texts: Sequence[str]) -> onnx.AttributeProto:
    """A long list of texts."""
    attribute = onnx.AttributeProto(name=name, type=onnx.AttributeProto.STRINGS)
    attribute.strings.extend([text.encode() for text in texts])
    return attribute


def _is_inexact(operand: Operand, operator: str) -> bool:
    """Whether an operand is a constant factor that float32 does not hold."""
    if isinstance(operand, str) or operand.size != 1:
        return False
    factor = 1 / operand.item() if operator == "Div" and operand.item() else operand.item()
    return bool(float(np.float32(factor)) != factor)


def _needed(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that the outputs depend on, and every name that they use."""
    used, kept = set(outputs), []
    for node in reversed(nodes):
        if not used.isdisjoint(node.output):
            kept.append(node)
            for inner in _walk([node]):
                used.update(inner.input)
    return kept[::-1], used


def _walk(nodes: Iterable[onnx.NodeProto]) -> Iterable[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _walk(attribute.g.node)
