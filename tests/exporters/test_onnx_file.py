"""ONNX files of every usual shape are exported as they are, and what cannot be served is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import mlops_kit
from mlops_kit.errors import ConversionError, MissingColumnsError, MlkitError, SampleError, SourceError
from mlops_kit.exporters.interface import Sample
from mlops_kit.exporters.onnx_file import exporter as onnx_file
from mlops_kit.schema import Columns

FLOAT, DOUBLE, HALF = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16
INT64, STRING, BOOL = TensorProto.INT64, TensorProto.STRING, TensorProto.BOOL
Port = tuple[str, int, Sequence[Any] | None]
RANDOM = np.random.default_rng(0)


def build(nodes: Sequence[Any], inputs: Sequence[Port], outputs: Sequence[Port], *weights: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
        "g",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        [numpy_helper.from_array(values, name) for name, values in weights],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="by hand")


def linear(dtype: int, rows: Any = "n", width: Any = 3) -> onnx.ModelProto:
    weights = np.array([[1.0], [2.0], [3.0]], helper.tensor_dtype_to_np_dtype(dtype))
    return build(
        [("MatMul", ["x", "w"], ["y"])], [("x", dtype, [rows, width])], [("y", dtype, [rows, 1])], ("w", weights)
    )


def alike(operator: str, shape: Sequence[Any] | None) -> onnx.ModelProto:
    return build([(operator, ["x"], ["y"])], [("x", FLOAT, shape)], [("y", FLOAT, shape)])


ML = {"domain": "ai.onnx.ml"}
LABELS = {**ML, "keys_strings": ["a", "b"], "values_floats": [1.0, 2.0], "default_float": -1.0}
PAIR = build(
    [
        ("LabelEncoder", ["origin"], ["code"], LABELS),
        ("Unsqueeze", ["weight", "axis"], ["column"]),
        ("Mul", ["code", "column"], ["y"]),
    ],
    [("origin", STRING, ["n", 1]), ("weight", FLOAT, ["n"])],
    [("y", FLOAT, ["n", 1])],
    ("axis", np.array([1])),
)
IMAGE = build(
    [("ReduceMean", ["pixels", "axes"], ["mean"], {"keepdims": 0}), ("Shape", ["mean"], ["shape"])],
    [("pixels", FLOAT, ["n", 3, 4, 4])],
    [("mean", FLOAT, ["n", 3])],
    ("axes", np.array([2, 3])),
)
CLASSIFIER_NODE = (
    "LinearClassifier", ["x"], ["label", "scores"],
    {**ML, "coefficients": [1.0, -1.0, -1.0, 1.0], "intercepts": [0.0, 0.0], "classlabels_strings": ["no", "yes"],
     "post_transform": "SOFTMAX"},
)  # fmt: skip
CLASSIFIER = build(
    [CLASSIFIER_NODE], [("x", FLOAT, [None, 2])], [("label", STRING, [None]), ("scores", FLOAT, [None, 2])]
)


def columns(**shapes: Any) -> Columns:
    return {name: RANDOM.standard_normal((20, *shape)).astype(np.float32) for name, shape in shapes.items()}


ABC = columns(a=(), b=(), c=())
WHOLE = {name: RANDOM.integers(-9, 9, 20) for name in "abc"}
TEXT = {"origin": np.array(["a", "b", "c", "a"] * 5, object), **columns(weight=())}

SERVED = [
    ("floats", linear(FLOAT), ABC, [("a", "float32", ()), ("b", "float32", ()), ("c", "float32", ())], {"y": ()}),
    ("doubles", linear(DOUBLE), ABC, [(n, "float64", ()) for n in "abc"], {"y": ()}),
    ("halves", linear(HALF), ABC, [(n, "float16", ()) for n in "abc"], {"y": ()}),
    ("whole numbers for floats", linear(FLOAT), WHOLE, [(n, "float32", ()) for n in "abc"], {"y": ()}),
    ("integers", linear(INT64), WHOLE, [(n, "int64", ()) for n in "abc"], {"y": ()}),
    ("any width", linear(FLOAT, width=None), ABC, [(n, "float32", ()) for n in "abc"], {"y": ()}),
    ("a tensor by name", linear(FLOAT), columns(x=(3,)), [("x", "float32", (3,))], {"y": ()}),
    ("a tensor by another name", linear(FLOAT), columns(z=(3,)), [("z", "float32", (3,))], {"y": ()}),
    ("no sample", linear(FLOAT), None, [("x", "float32", (3,))], {"y": ()}),
    ("text and numbers", PAIR, TEXT, [("origin", "string", ()), ("weight", "float32", ())], {"y": ()}),
    ("text without a sample", PAIR, None, [("origin", "string", ()), ("weight", "float32", ())], {"y": ()}),
    ("images", IMAGE, columns(pixels=(3, 4, 4)), [("pixels", "float32", (3, 4, 4))], {"mean": (3,)}),
    ("labels and scores", CLASSIFIER, columns(a=(), b=()), [("a", "float32", ()), ("b", "float32", ())],
     {"label": (), "scores": (2,)}),
    ("truth values", build([("Not", ["x"], ["y"])], [("x", BOOL, ["n"])], [("y", BOOL, ["n"])]),
     {"x": RANDOM.random(20) > 0.5}, [("x", "bool", ())], {"y": ()}),
    ("undeclared shapes", alike("Abs", None), ABC, [(n, "float32", ()) for n in "abc"], {"y": (3,)}),
    ("one row at a time", linear(FLOAT, rows=1), ABC, [(n, "float32", ()) for n in "abc"], {"y": ()}),
    ("eight rows at a time", linear(FLOAT, rows=8), None, [("x", "float32", (3,))], {"y": ()}),
]  # fmt: skip


@pytest.mark.parametrize(("model", "sample", "inputs", "outputs"), [pytest.param(*c[1:], id=c[0]) for c in SERVED])
def test_served(model: Any, sample: Any, inputs: Any, outputs: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    onnx.save(model, path)
    mlops_kit.export(path, sample=sample, out=tmp_path / "bundle")
    predictor = mlops_kit.load(tmp_path / "bundle")
    assert [(c.name, c.dtype, c.shape) for c in predictor.signature.columns] == inputs
    assert {o.name: o.shape for o in predictor.signature.outputs} == outputs
    source = onnx_file.adapt(model, Sample(sample) if sample else None)
    for count in (0, 1, 20) if sample else ():
        rows = {name: values[:count] for name, values in sample.items()}
        want, got = source.reference(rows), predictor.predict(rows)
        for name in outputs:
            assert (got[name].dtype, got[name].shape) == (want[name].dtype, want[name].shape)
            close = np.equal if got[name].dtype == object else np.isclose
            assert close(got[name], want[name]).all()


def test_the_original_runs_as_the_runtime_runs_it() -> None:
    rows = np.stack(list(ABC.values()), axis=1)
    session = onnxruntime.InferenceSession(linear(FLOAT).SerializeToString())
    reference = onnx_file.adapt(linear(FLOAT), Sample(ABC)).reference(ABC)
    np.testing.assert_array_equal(reference["y"], np.asarray(session.run(None, {"x": rows})[0])[:, 0], strict=True)


def test_rows_go_through_a_fixed_batch_in_pieces() -> None:
    fixed = onnx_file.adapt(linear(FLOAT, rows=8), Sample(ABC)).reference
    free = onnx_file.adapt(linear(FLOAT), Sample(ABC)).reference
    for count in (0, 1, 8, 20):
        rows = {name: values[:count] for name, values in ABC.items()}
        np.testing.assert_allclose(fixed(rows)["y"], free(rows)["y"], rtol=1e-6, strict=True)


def test_zipmap_becomes_a_column_per_class(tmp_path: Path) -> None:
    zipmap = ("ZipMap", ["scores"], ["probability"], {**ML, "classlabels_strings": ["no", "yes"]})
    model = build([CLASSIFIER_NODE, zipmap], [("x", FLOAT, [None, 2])], [("label", STRING, [None])])
    dictionary = helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, []))
    model.graph.output.append(helper.make_value_info("probability", helper.make_sequence_type_proto(dictionary)))
    sample = columns(a=(), b=())
    mlops_kit.export(model, sample=sample, out=tmp_path / "bundle")
    got = mlops_kit.load(tmp_path / "bundle").predict(sample)
    want = onnx_file.adapt(CLASSIFIER, Sample(sample)).reference(sample)
    assert list(got) == ["label", "probability_no", "probability_yes"]
    np.testing.assert_array_equal(got["probability_yes"], want["scores"][:, 1], strict=True)
    np.testing.assert_array_equal(got["label"], want["label"])
    assert "ZipMap" not in {n.op_type for n in onnx.load(tmp_path / "bundle" / "model.onnx").graph.node}


def test_weights_listed_among_the_inputs_are_not_inputs() -> None:
    model = linear(FLOAT)
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, [3, 1]))
    assert [c.name for c in onnx_file.adapt(model, None).columns] == ["x"]


def test_notes_on_source_code_are_removed_and_the_author_stays() -> None:
    model = linear(FLOAT)
    helper.set_model_props(model, {"author": "somebody"})
    model.graph.node[0].doc_string = "/home/somebody/secret/train.py(7): forward"
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value="/home/somebody/secret")
    graph = next(onnx_file.adapt(model, None).conversions()).graph
    assert b"secret" not in graph.SerializeToString()
    assert graph.metadata_props[0].value == "somebody"


def sequence() -> onnx.ModelProto:
    model = build([("SplitToSequence", ["x"], ["y"], {"axis": 0})], [("x", FLOAT, ["n", 3])], [])
    parts = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    model.graph.output.append(helper.make_value_info("y", parts))
    return model


def foreign() -> onnx.ModelProto:
    model = build(
        [("Wobble", ["x"], ["y"], {"domain": "com.acme"})], [("x", FLOAT, ["n", 3])], [("y", FLOAT, ["n", 3])]
    )
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    return model


RESHAPE = build(
    [("Reshape", ["x", "shape"], ["y"])],
    [("x", FLOAT, [2, 3])],
    [("y", FLOAT, [2, 3])],
    ("shape", np.array([2, 3])),
)
CONSTANT = build([("Identity", ["w"], ["y"])], [], [("y", FLOAT, [3])], ("w", np.ones(3, np.float32)))
BFLOAT = build(
    [("Cast", ["x"], ["y"], {"to": FLOAT})], [("x", TensorProto.BFLOAT16, ["n", 3])], [("y", FLOAT, ["n", 3])]
)
TOTAL = build([("ReduceSum", ["x"], ["y"], {"keepdims": 0})], [("x", FLOAT, ["n", 3])], [("y", FLOAT, [])])
TWO_SIZES = build(
    [("Add", ["p", "q"], ["y"])], [("p", FLOAT, [1, 3]), ("q", FLOAT, [4, 3])], [("y", FLOAT, [4, 3])]
)
REFUSED = [
    ("a sequence", sequence(), None, ConversionError, "output 'y' is a sequence"),
    ("an operator nobody has", foreign(), None, ConversionError, "Wobble of the domain 'com.acme'"),
    ("a batch fixed inside", RESHAPE, None, ConversionError, "takes 2 rows at a time"),
    ("batches of two sizes", TWO_SIZES, None, ConversionError, "1, 4"),
    ("one value for all rows", TOTAL, None, ConversionError, "output 'y' has not one value per row"),
    ("no inputs", CONSTANT, None, ConversionError, "has no inputs"),
    ("a dtype without columns", BFLOAT, None, ConversionError, "input 'x' is a tensor of bfloat16"),
    ("a scalar input", alike("Identity", []), None, ConversionError, "input 'x' is one value for all rows"),
    ("a broken graph", alike("Add", ["n"]), None, ConversionError, "not one that runs"),
    ("no declared shape", alike("Abs", None), None, SampleError, "declares no shape"),
    ("too many columns", linear(FLOAT), columns(a=(), b=(), c=(), d=()), SampleError, "3 values per row"),
    ("text for numbers", linear(FLOAT), {**ABC, "c": np.array(["a"] * 20, object)}, SampleError, "column 'c'"),
    ("a column short", PAIR, columns(weight=()), MissingColumnsError, "'origin'"),
    ("another image", IMAGE, columns(pixels=(3, 5, 5)), SampleError, "column 'pixels'"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "sample", "error", "message"), [pytest.param(*c[1:], id=c[0]) for c in REFUSED])
def test_refused(model: Any, sample: Any, error: type[MlkitError], message: str) -> None:
    with pytest.raises(error, match=message):
        list(onnx_file.adapt(model, Sample(sample) if sample else None).conversions())


def external(folder: Path, location: str, **fields: int) -> Path:
    model = linear(FLOAT)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": 0, "length": 12, **fields}.items():
        tensor.external_data.add(key=key, value=str(value))
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    path = external(tmp_path / "model", "data/weights.bin")
    (path.parent / "data").mkdir()
    (path.parent / "data" / "weights.bin").write_bytes(np.array([1, 2, 3], np.float32).tobytes())
    mlops_kit.export(path, sample=ABC, out=tmp_path / "bundle")
    got = mlops_kit.load(tmp_path / "bundle").predict(ABC)["y"]
    np.testing.assert_allclose(got, ABC["a"] + 2 * ABC["b"] + 3 * ABC["c"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("location", "fields", "message"),
    [
        ("../weights.bin", {}, "outside of the file's folder"),
        ("data/../../weights.bin", {}, "outside of the file's folder"),
        ("/etc/hostname", {}, "outside of the file's folder"),
        ("", {}, "outside of the file's folder"),
        ("link.bin", {}, "symbolic link"),
        ("linked/weights.bin", {}, "symbolic link"),
        ("missing.bin", {}, "there is no missing.bin"),
        ("short.bin", {}, "cut off"),
        ("short.bin", {"offset": -4}, "cut off"),
        ("short.bin", {"offset": "two"}, "no number"),
    ],
)
def test_weights_elsewhere_are_refused(location: str, fields: Any, message: str, tmp_path: Path) -> None:
    path = external(tmp_path / "model", location, **fields)
    (tmp_path / "weights.bin").write_bytes(bytes(12))
    (path.parent / "short.bin").write_bytes(bytes(8))
    (path.parent / "link.bin").symlink_to(tmp_path / "weights.bin")
    (path.parent / "linked").symlink_to(tmp_path)
    with pytest.raises(SourceError, match=message):
        onnx_file.read(path)


def test_a_model_in_memory_must_hold_its_weights(tmp_path: Path) -> None:
    model = onnx.load(external(tmp_path / "model", "weights.bin"), load_external_data=False)
    with pytest.raises(SourceError, match="in memory"):
        onnx_file.adapt(model, None)


WHOLE_FILE = linear(FLOAT).SerializeToString()
FILES = [
    ("a model", WHOLE_FILE, True),
    ("a model cut off", WHOLE_FILE[:-20], True),
    ("only its beginning", WHOLE_FILE[:8], False),
    ("nothing", b"", False),
    ("text", b"\x08 is not ONNX", False),
    ("CSV", b"year,month\n2013,1\n", False),
    ("a pickle", b"\x80\x04\x95\x10\x00", False),
    ("another message with the same first field", b"\x08\x01\x12\x06\x0a\x04\xff\xfe\x00\x01", False),
    ("a graph without a version", WHOLE_FILE[2:], False),
]


@pytest.mark.parametrize(("content", "expected"), [pytest.param(*case[1:], id=case[0]) for case in FILES])
def test_a_file_is_recognised_by_its_content(content: bytes, expected: bool, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    assert onnx_file.recognises_file(path, content[:4096]) is expected


@pytest.mark.parametrize("content", [WHOLE_FILE[:-20], b"\x08\x0a", b"not a model"])
def test_a_damaged_file_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(SourceError):
        onnx_file.read(path)
