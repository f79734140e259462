"""MLmodel, MLflow's own descriptor, so that MLflow loads and serves a bundle as it is.

https://mlflow.org/docs/latest/ml/model/#mlmodel-configuration
"""

import json
from importlib.metadata import version
from typing import Any

from mlops_kit.schema import FLOATS, INTEGERS, Column, Output, Signature, Tensor

FILE_NAME = "MLmodel"

# Always "double", because MLflow refuses to narrow what it is given, and narrows it for the graph itself.
COLUMN_TYPES = {
    "bool": "boolean", "string": "string", "float16": "double", "float32": "double", "float64": "double",
    "int8": "integer", "int16": "integer", "uint8": "integer", "uint16": "integer", "int32": "integer",
    "uint32": "long", "int64": "long", "uint64": "long",
}  # fmt: skip


def describe_for_mlflow(signature: Signature) -> str:
    """The file's text. JSON is YAML, and leaves no doubt about quoting."""
    document = {
        "flavors": {
            "onnx": {
                "code": None,
                "data": "model.onnx",
                "onnx_version": version("onnx"),
                "providers": ["CPUExecutionProvider"],
            },
            "python_function": {"data": "model.onnx", "loader_module": "mlflow.onnx"},
        },
        "signature": {"inputs": json.dumps(_inputs(signature)), "outputs": json.dumps(_outputs(signature))},
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _inputs(signature: Signature) -> list[dict[str, Any]]:
    by_name = {column.name: column for column in signature.columns}
    # MLflow hands columns of text on in pandas' own type, which ONNX Runtime does not take; as a tensor,
    # a text column arrives as a NumPy array.
    if any(column.shape or column.dtype == "string" for column in signature.columns):
        return [_tensor(t.name, t.dtype, by_name[t.columns[0]].shape) for t in signature.tensors]
    return [_column(by_name[name], tensor) for tensor in signature.tensors for name in tensor.columns]


def _column(column: Column, tensor: Tensor) -> dict[str, Any]:
    # MLflow passes whole numbers on as they are, so the type to declare is the one that the graph takes.
    dtype = tensor.dtype if column.dtype in FLOATS + INTEGERS else column.dtype
    return {"name": column.name, "type": COLUMN_TYPES[dtype], "required": True}


def _outputs(signature: Signature) -> list[dict[str, Any]]:
    if any(output.shape for output in signature.outputs):
        return [_tensor(output.name, output.dtype, output.shape) for output in signature.outputs]
    return [_output(output) for output in signature.outputs]


def _output(output: Output) -> dict[str, Any]:
    return {"name": output.name, "type": COLUMN_TYPES[output.dtype], "required": True}


def _tensor(name: str, dtype: str, shape: tuple[int | None, ...]) -> dict[str, Any]:
    sizes = [-1, *(-1 if size is None else size for size in shape)]
    kind = "object" if dtype == "string" else dtype
    return {"name": name, "type": "tensor", "tensor-spec": {"dtype": kind, "shape": sizes}}
