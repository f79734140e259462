"""Reading and cleaning ONNX graphs: what the exporters that are handed a graph have in common."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from mlops_kit.bundle.graph import walk_nodes
from mlops_kit.schema import DTYPES, Output

DTYPE_NAMES: Mapping[int, str] = {
    int(
        onnx.TensorProto.STRING if name == "string" else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))
    ): name
    for name in DTYPES
}
"""ONNX element type → the schema's dtype. What is not here cannot be a column."""


def strip_traces(model: onnx.ModelProto) -> None:
    """Remove what converters note about the source code: stack traces, file names, the author's folders.

    What the model says about itself (its metadata, producer and documentation) stays.
    """
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    for function in model.functions:
        _clear(function.node)
        del function.metadata_props[:]
    _clear(walk_nodes(model))
    _clear((*model.graph.input, *model.graph.output, *model.graph.initializer))
    # Shapes of intermediate values: the runtime infers them again.
    del model.graph.value_info[:]


def _clear(things: Iterable[onnx.NodeProto | onnx.ValueInfoProto | onnx.TensorProto]) -> None:
    for thing in things:
        del thing.metadata_props[:]
        thing.doc_string = ""


def real_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller feeds: old files list every initializer among the inputs, too."""
    stored = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in stored]


def dims_of(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """A tensor's declared shape, with None for a dimension that varies; None if no shape is declared."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim
    )


def output_of(name: str, dtype: str, tensor: str, row_shape: tuple[int | None, ...]) -> Output:
    """An output column; (rows, 1) is flattened.

    >>> output_of("p", "float32", "y", (1,)).shape, output_of("p", "float32", "y", (3,)).shape
    ((), (3,))
    """
    return Output(name, dtype, tensor, shape=() if row_shape == (1,) else row_shape)
