"""Weights lie in weights.safetensors, the definition in model.onnx, and the runtime loads the pair."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open

from mlops_kit.bundle.manifest import Parameters
from mlops_kit.bundle.weights import count_parameters, split_weights

GRID = np.arange(12, dtype=np.float32).reshape(3, 4) / 7


def build(nodes: Sequence[onnx.NodeProto], *initializers: onnx.TensorProto) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="test")


def linear() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "layer.weight", "layer.bias"], ["h"], transB=1),
        helper.make_node("Reshape", ["h", "shape"], ["y"]),
    ]
    return build(
        nodes,
        numpy_helper.from_array(GRID, "layer.weight"),
        helper.make_tensor("layer.bias", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]),
        numpy_helper.from_array(np.array([-1, 3]), "shape"),
    )


def run(model: str | bytes, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def names_in(path: Path) -> list[str]:
    with safe_open(path, framework="np") as file:
        return sorted(file.keys())


def written(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_runtime_loads_the_pair_and_answers_as_before(tmp_path: Path) -> None:
    model = linear()
    split_weights(model, tmp_path)
    assert written(tmp_path) == ["model.onnx", "weights.safetensors"]
    x = np.ones((5, 4), np.float32)
    np.testing.assert_array_equal(
        run(str(tmp_path / "model.onnx"), x), run(model.SerializeToString(), x), strict=True
    )


def test_safetensors_shows_each_weight_by_its_name(tmp_path: Path) -> None:
    split_weights(linear(), tmp_path)
    assert names_in(tmp_path / "weights.safetensors") == ["layer.bias", "layer.weight"]
    with safe_open(tmp_path / "weights.safetensors", framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("layer.weight"), GRID)
        np.testing.assert_array_equal(file.get_tensor("layer.bias"), [1.0, 2.0, 3.0])


def test_the_model_given_is_left_alone_and_splits_into_the_same_bytes_again(tmp_path: Path) -> None:
    model = linear()
    before = model.SerializeToString(deterministic=True)
    written = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        split_weights(model, folder)
        written.append([(folder / name).read_bytes() for name in ("model.onnx", "weights.safetensors")])
    assert written[0] == written[1]
    assert model.SerializeToString(deterministic=True) == before


def test_everything_but_the_weights_stays_in_the_definition(tmp_path: Path) -> None:
    model = linear()
    helper.set_model_props(model, {"author": "somebody"})
    split_weights(model, tmp_path)
    whole = onnx.load(tmp_path / "model.onnx")
    assert whole.graph.initializer[2] == model.graph.initializer[2]
    # Loading writes raw bytes where the test has typed fields, and leaves the location behind.
    for tensor, original in zip(whole.graph.initializer, model.graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), numpy_helper.to_array(original))
    del whole.graph.initializer[:], model.graph.initializer[:]
    assert whole == model


ONES = np.ones(4, np.float32)
KEPT = [
    ("text", helper.make_tensor("t", TensorProto.STRING, [2], [b"a", b"b"])),
    ("few integers", numpy_helper.from_array(np.arange(31), "t")),
    ("a scalar", numpy_helper.from_array(np.float32(1e-5), "t")),
    ("nothing", numpy_helper.from_array(np.zeros((0, 4), np.float32), "t")),
    ("a reserved name", numpy_helper.from_array(ONES, "__metadata__")),
    ("4-bit integers", helper.make_tensor("t", TensorProto.INT4, [600], bytes(300), raw=True)),
    ("8-bit floats", helper.make_tensor("t", TensorProto.FLOAT8E4M3FN, [600], bytes(600), raw=True)),
]
MOVED = [
    ("many integers", numpy_helper.from_array(np.arange(32), "t")),
    ("one float", numpy_helper.from_array(ONES[:1], "t")),
    ("doubles", numpy_helper.from_array(np.ones(3), "t")),
    ("halves", numpy_helper.from_array(np.ones(3, np.float16), "t")),
    ("bfloat16", helper.make_tensor("t", TensorProto.BFLOAT16, [3], [1.0, 2.0, 3.0])),
    ("quantised weights", numpy_helper.from_array(np.arange(256).astype(np.uint8), "t")),
    ("booleans", numpy_helper.from_array(np.arange(300) % 3 == 0, "t")),
]


@pytest.mark.parametrize(
    ("tensor", "files"),
    [
        *(pytest.param(tensor, 1, id=f"{name} stay") for name, tensor in KEPT),
        *(pytest.param(tensor, 2, id=f"{name} move") for name, tensor in MOVED),
    ],
)
def test_what_leaves_the_graph(tensor: onnx.TensorProto, files: int, tmp_path: Path) -> None:
    model = build([helper.make_node("Relu", ["x"], ["y"])], tensor)
    split_weights(model, tmp_path)
    assert len(written(tmp_path)) == files
    assert (tmp_path / "weights.safetensors").exists() == (files == 2)
    loaded = onnx.load(tmp_path / "model.onnx").graph.initializer[0]
    np.testing.assert_array_equal(numpy_helper.to_array(loaded), numpy_helper.to_array(tensor))
    assert count_parameters(model).weights_tensors == files - 1


def test_weights_of_many_dtypes_load_in_the_runtime(tmp_path: Path) -> None:
    dtypes = [np.int8, np.float64, np.float16, np.int64, np.float32, np.bool_]
    weights = [numpy_helper.from_array(np.ones((65, 4)).astype(d), f"w{i}") for i, d in enumerate(dtypes)]
    nodes = [helper.make_node("Cast", [w.name], [f"c{w.name}"], to=TensorProto.FLOAT) for w in weights]
    nodes += [helper.make_node("ReduceMean", [f"c{w.name}"], [f"m{w.name}"], keepdims=0) for w in weights]
    nodes += [helper.make_node("Sum", ["x", *(f"m{w.name}" for w in weights)], ["y"])]
    split_weights(build(nodes, *weights), tmp_path)
    assert run(str(tmp_path / "model.onnx"), np.zeros((1, 4), np.float32)).tolist() == [[6.0] * 4]


def test_sizes_that_shape_inference_reads_stay_in_the_graph(tmp_path: Path) -> None:
    nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")]
    split_weights(build(nodes, numpy_helper.from_array(np.array([1, 2], np.float32), "scales")), tmp_path)
    assert run(str(tmp_path / "model.onnx"), np.ones((3, 4), np.float32)).shape == (3, 8)


def test_a_subgraph_keeps_its_constants(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(ONES * 2, "w")],
    )
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)]
    model = build(nodes, numpy_helper.from_array(np.array(True), "yes"))
    split_weights(model, tmp_path)
    assert written(tmp_path) == ["model.onnx"]
    assert run(str(tmp_path / "model.onnx"), np.ones((1, 4), np.float32)).tolist() == [[2.0] * 4]


def test_parameters_of_ml_operators_are_counted_apart() -> None:
    nodes = [
        helper.make_node("Scaler", ["x"], ["s"], domain="ai.onnx.ml", offset=[0.0] * 4, scale=[1.0] * 4),
        helper.make_node("Add", ["s", "bias"], ["y"]),
    ]
    model = build(nodes, numpy_helper.from_array(ONES, "bias"), numpy_helper.from_array(np.array([1]), "axis"))
    assert count_parameters(model) == Parameters(1, 4, 16, attribute_values=8)


def test_parameters_are_counted_without_the_weights_file(tmp_path: Path) -> None:
    split_weights(linear(), tmp_path)
    definition = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    assert count_parameters(definition) == Parameters(2, 15, 60, attribute_values=0)
