"""Build a small ONNX graph node by node, with names that are the same in every process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlops_kit.schema import Array

OPSETS = {"": 21, "ai.onnx.ml": 5}
IR_VERSION = 10
"""The first with ai.onnx.ml 5."""

ELEMENT_TYPES = {
    "bool": TensorProto.BOOL,
    "int64": TensorProto.INT64,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "string": TensorProto.STRING,
}


@dataclass(slots=True)
class GraphBuilder:
    """Nodes, constants, inputs and outputs in the order in which they are added.

    Names inside of the graph begin with "/", so that they cannot meet a column's.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def add(self, operator: str, *sources: str, domain: str = "", **attributes: Any) -> str:
        """Add a node of one output, and return that output's name."""
        result = self.new_name(operator)
        self.nodes.append(helper.make_node(operator, sources, [result], domain=domain, **attributes))
        return result

    def new_name(self, operator: str) -> str:
        """The name for the result of the next node."""
        return f"/{operator}_{len(self.nodes)}"

    def cast(self, source: str, dtype: str) -> str:
        """Add a cast to another dtype, and return its result's name."""
        return self.add("Cast", source, to=ELEMENT_TYPES[dtype])

    def constant(self, values: Any, dtype: str) -> str:
        """Add a constant, and return its name."""
        name = f"/constant_{len(self.constants)}"
        self.constants.append(make_tensor(values, dtype, name))
        return name

    def add_input(self, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declare an input of the graph."""
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape))

    def add_output(self, source: str, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Give the result named `source`, of one of the nodes, as the output `name` of the graph."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for index, current in enumerate(names):
                    if current == source:
                        names[index] = name
        self.outputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape))

    def to_model(self) -> onnx.ModelProto:
        """The finished model. Its name and producer are fixed, so that the same nodes give the same bytes."""
        graph = helper.make_graph(self.nodes, "model", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="mlkit")


def make_tensor(values: Any, dtype: str, name: str = "") -> onnx.TensorProto:
    """A tensor of any dtype of `ELEMENT_TYPES`; text is given as `str`."""
    array: Array = np.array(values, object if dtype == "string" else dtype)
    return numpy_helper.from_array(array, name)
