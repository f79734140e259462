"""A small bundle made by hand, so that tests of the format need no framework."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlops_kit.bundle.files import describe_file
from mlops_kit.bundle.goldens import write_goldens
from mlops_kit.bundle.manifest import Manifest, Parity, Source
from mlops_kit.bundle.mlmodel import describe_for_mlflow
from mlops_kit.bundle.weights import count_parameters, split_weights
from mlops_kit.schema import Column, Output, Signature, Tensor

WIDTH = 80
NAMES = tuple(f"x{index}" for index in range(WIDTH))
WEIGHTS = np.arange(WIDTH, dtype=np.float32).reshape(WIDTH, 1)
SIGNATURE = Signature(
    columns=tuple(Column(name, "float32") for name in NAMES),
    tensors=(Tensor("features", "float32", NAMES, "matrix"),),
    outputs=(Output("prediction", "float32", "prediction"),),
)


def linear_graph(
    weights: np.ndarray[Any, Any] = WEIGHTS, bias: np.ndarray[Any, Any] | None = None
) -> onnx.ModelProto:
    """prediction = features @ weights, with a second tensor of weights when there is a bias."""
    constants = [numpy_helper.from_array(weights, "weights")]
    nodes = [helper.make_node("MatMul", ["features", "weights"], ["prediction" if bias is None else "product"])]
    if bias is not None:
        constants.append(numpy_helper.from_array(bias, "bias"))
        nodes.append(helper.make_node("Add", ["product", "bias"], ["prediction"]))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", len(weights)])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["rows", weights.shape[1]])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def slow_graph() -> onnx.ModelProto:
    """A model that takes minutes for an answer, also to its golden rows."""
    node, value = helper.make_node, helper.make_tensor_value_info
    turn = helper.make_graph(
        [node("Identity", ["go"], ["goes_on"]), node("Identity", ["before"], ["after"])],
        "turn",
        [value("number", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("before", TensorProto.FLOAT, ["rows", 1])],
        [value("goes_on", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, ["rows", 1])],
    )  # fmt: skip
    model = linear_graph()
    model.graph.node[0].output[0] = "product"
    model.graph.initializer.append(helper.make_tensor("turns", TensorProto.INT64, [], [2 * 10**8]))
    model.graph.initializer.append(helper.make_tensor("always", TensorProto.BOOL, [], [True]))
    model.graph.node.append(node("Loop", ["turns", "always", "product"], ["prediction"], body=turn))
    return model


def write_bundle(
    directory: Path,
    graph: onnx.ModelProto | None = None,
    name: str = "tiny",
    weights: np.ndarray[Any, Any] = WEIGHTS,
) -> Path:
    """Write a bundle as export would; its golden answers are those of `weights`."""
    graph = graph or linear_graph(weights)
    directory.mkdir(parents=True)
    split_weights(graph, directory)
    rows = {name: np.linspace(0, 1, 5, dtype=np.float32) for name in NAMES}
    write_goldens(directory, rows, {"prediction": np.stack(list(rows.values()), 1) @ weights[:, 0]})
    (directory / "MLmodel").write_text(describe_for_mlflow(SIGNATURE))
    manifest = Manifest(
        name=name,
        source=Source("by hand", "a linear model", {}, "float32"),
        signature=SIGNATURE,
        row_block=2,
        parameters=count_parameters(graph),
        parity=Parity(5, 5, 1e-4, 0.0, "prediction", 0, 0),
        files=tuple(describe_file(path) for path in sorted(directory.iterdir())),
    )
    (directory / "manifest.json").write_bytes(manifest.to_bytes())
    return directory


def sign_again(directory: Path) -> None:
    """Make the manifest fit the files, as somebody who tampers with a bundle would."""
    path = directory / "manifest.json"
    document = json.loads(path.read_bytes())
    for entry in document["files"]:
        data = (directory / entry["name"]).read_bytes()
        entry.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    path.write_text(json.dumps(document))


def edit_manifest(directory: Path, **changes: Any) -> None:
    """Replace fields of the manifest."""
    path = directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def edit_graph(directory: Path, change: Any) -> None:
    """Change the graph with `change(model)` and make the manifest fit."""
    path = directory / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    sign_again(directory)
