"""A bundle with a column of each kind, and with names that would break a page which trusted them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from mlops_kit.bundle.files import describe_file
from mlops_kit.bundle.goldens import write_goldens
from mlops_kit.bundle.manifest import Manifest, Parity, Source
from mlops_kit.bundle.mlmodel import describe_for_mlflow
from mlops_kit.bundle.weights import count_parameters
from mlops_kit.schema import Column, Output, Signature, Tensor

HOSTILE = "<img src=x onerror=\"alert('a & b')\">"
COLUMNS = (
    Column("amount", "float32", nullable=True),
    Column("count", "int64"),
    Column("is_new", "bool"),
    Column(HOSTILE, "string", nullable=True),
    Column("vector", "float32", shape=(3,)),
)
SIGNATURE = Signature(
    columns=COLUMNS,
    tensors=tuple(Tensor(f"t{i}", column.dtype, (column.name,), "array") for i, column in enumerate(COLUMNS)),
    outputs=(Output("score", "float32", "score"), Output("echo", "string", "echo")),
)
ROWS: dict[str, np.ndarray[Any, Any]] = {
    "amount": np.array([np.nan, 0.1], np.float32),
    "count": np.array([1, 2], np.int64),
    "is_new": np.array([False, True]),
    HOSTILE: np.array([None, "it's <b>"], object),
    "vector": np.array([[0, 0, 0], [1, 2.5, 3]], np.float32),
}
"""The second lacks nothing."""

GOLDEN_ROW = {"amount": 0.1, "count": 2, "is_new": True, HOSTILE: "it's <b>", "vector": [1.0, 2.5, 3.0]}
"""It, as JSON has it."""


def write_mixed_bundle(directory: Path) -> Path:
    """score = amount + count + is_new + the sum of vector; echo is the text."""
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(_graph().SerializeToString())
    numbers = [ROWS["amount"], *(ROWS[name].astype(np.float32) for name in ("count", "is_new"))]
    answers = {
        "score": np.sum([*numbers, ROWS["vector"].sum(1)], axis=0, dtype=np.float32),
        "echo": np.array([text or "" for text in ROWS[HOSTILE]], object),
    }
    write_goldens(directory, ROWS, answers)
    (directory / "MLmodel").write_text(describe_for_mlflow(SIGNATURE))
    manifest = Manifest(
        name="mixed",
        source=Source("by hand", "a sum", {}, "float32"),
        signature=SIGNATURE,
        row_block=1,
        parameters=count_parameters(_graph()),
        parity=Parity(2, 2, 1e-4, 0.0, "score", 0, 0),
        files=tuple(describe_file(path) for path in sorted(directory.iterdir())),
    )
    (directory / "manifest.json").write_bytes(manifest.to_bytes())
    return directory


def _graph() -> onnx.ModelProto:
    kinds = [TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING]
    inputs = [helper.make_tensor_value_info(f"t{i}", kind, ["rows"]) for i, kind in enumerate(kinds)]
    inputs.append(helper.make_tensor_value_info("t4", TensorProto.FLOAT, ["rows", 3]))
    nodes = [
        helper.make_node("Cast", ["t1"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["t2"], ["is_new"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["t4", "axis"], ["total"], keepdims=0),
        helper.make_node("Sum", ["t0", "count", "is_new", "total"], ["score"]),
        helper.make_node("Identity", ["t3"], ["echo"]),
    ]
    outputs = [
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows"]),
        helper.make_tensor_value_info("echo", TensorProto.STRING, ["rows"]),
    ]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "mixed", inputs, outputs, [axis])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
