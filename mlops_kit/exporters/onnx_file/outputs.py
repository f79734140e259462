"""What a graph returns, as output columns: its tensors, and one column per class for ZipMap's dictionaries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from mlops_kit.errors import ConversionError, SampleError
from mlops_kit.exporters.graphs.inspection import DTYPE_NAMES, dims_of, output_of
from mlops_kit.schema import Array, Output

PROBED_ROWS = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """An output column, and where the original graph has it: an output, or a key of its dictionaries.

    `row_shape` is the tensor's own; (1,) where the column is flattened.
    """

    output: Output
    original: str
    row_shape: tuple[int | None, ...]
    key: str | int | None = None


def find_answers(graph: onnx.GraphProto, observed: Mapping[str, Any] | None, varies: bool) -> list[Answer]:
    """The output columns. `observed` is what PROBED_ROWS rows gave; `varies` says that row shapes may change with
    the inputs. Raises ConversionError where an output is no tensor with a row per row.
    """
    answers: list[Answer] = []
    for value in graph.output:
        zipmap = _zipmap_of(graph, value.name)
        if zipmap is not None:
            answers += _zipmap_answers(value.name, zipmap)
        elif value.type.WhichOneof("value") not in ("tensor_type", None):
            kind = str(value.type.WhichOneof("value")).removesuffix("_type")
            raise ConversionError(
                f"output {value.name!r} is a {kind}",
                "a prediction is a tensor",
                "export the model without that output",
            )
        else:
            answers.append(_tensor_answer(value, observed[value.name] if observed else None, varies))
    return answers


def read_answers(results: Mapping[str, Any], answers: Sequence[Answer]) -> dict[str, Array]:
    """The output columns of what the original graph returned."""
    columns = {}
    for answer in answers:
        values = results[answer.original]
        if answer.key is not None:
            values = np.array([row[answer.key] for row in values], np.float32)
        columns[answer.output.name] = values.reshape(len(values)) if answer.output.shape == () else values
    return columns


def declare_outputs(graph: onnx.GraphProto, answers: Sequence[Answer]) -> None:
    """Let the graph declare the outputs that it really has, and take its ZipMap nodes out.

    ONNX Runtime prints a warning at every call where the declared shape is not the real one.
    """
    zipmaps = [node for answer in answers if (node := _zipmap_of(graph, answer.original)) is not None]
    for node in zipmaps:
        if node in graph.node:
            graph.node.remove(node)
    declared: dict[str, onnx.ValueInfoProto] = {}
    for answer in answers:
        declared.setdefault(answer.output.tensor, _value_info(answer))
    del graph.output[:]
    graph.output.extend(declared.values())


def _value_info(answer: Answer) -> onnx.ValueInfoProto:
    dtype = next(element for element, name in DTYPE_NAMES.items() if name == answer.output.dtype)
    return onnx.helper.make_tensor_value_info(answer.output.tensor, dtype, ["batch", *answer.row_shape])


def _tensor_answer(value: onnx.ValueInfoProto, observed: Any, varies: bool) -> Answer:
    declared = dims_of(value)
    element: int = value.type.tensor_type.elem_type
    dtype = DTYPE_NAMES.get(element) if element else _dtype_of(observed)
    if dtype is None:
        name = onnx.TensorProto.DataType.Name(element).lower() if element else "an unknown dtype"
        raise ConversionError(f"output {value.name!r} is of {name}", "columns have no such dtype")
    if observed is None and declared is None:
        raise SampleError(f"output {value.name!r} declares no shape", fix="give some rows with --sample")
    shape: tuple[int | None, ...] = declared or () if observed is None else observed.shape
    if varies and declared is not None and len(declared) == len(shape):
        shape = declared
    if not shape or (observed is not None and len(observed) != PROBED_ROWS):
        raise ConversionError(
            f"output {value.name!r} has not one value per row",
            f"{PROBED_ROWS} rows give it the shape {getattr(observed, 'shape', ())}",
            "export a model whose outputs have the rows as their first dimension",
        )
    return Answer(output_of(value.name, dtype, value.name, shape[1:]), value.name, shape[1:])


def _dtype_of(observed: Any) -> str | None:
    if observed is None:
        return None
    return "string" if observed.dtype == object else str(observed.dtype.name)


def _zipmap_of(graph: onnx.GraphProto, output: str) -> onnx.NodeProto | None:
    return next((node for node in graph.node if node.op_type == "ZipMap" and output in node.output), None)


def _zipmap_answers(name: str, node: onnx.NodeProto) -> list[Answer]:
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    classes = attributes.get("classlabels_int64s") or [
        label.decode() for label in attributes.get("classlabels_strings", [])
    ]
    return [
        Answer(Output(f"{name}_{label}", "float32", node.input[0], index), name, (len(classes),), label)
        for index, label in enumerate(classes)
    ]
