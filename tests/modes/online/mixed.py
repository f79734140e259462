"""A bundle with columns and outputs of every kind, made by hand, and rows for it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import polars as pl
from onnx import TensorProto as Types
from onnx import helper

from mlops_kit.assembly import assemble
from mlops_kit.bundle.files import describe_file
from mlops_kit.bundle.goldens import write_goldens
from mlops_kit.bundle.manifest import Manifest, Parity, Source
from mlops_kit.bundle.mlmodel import describe_for_mlflow
from mlops_kit.bundle.weights import count_parameters
from mlops_kit.frames import columns_of
from mlops_kit.schema import Column, Output, Signature, Tensor

CITIES = ("Köln", "New York", "東京", "")
KINDS: dict[str, tuple[str, int]] = {
    "city": ("string", Types.STRING),
    "is_new": ("bool", Types.BOOL),
    "count": ("int64", Types.INT64),
    "level": ("uint8", Types.UINT8),
    "price": ("float64", Types.DOUBLE),
    "half": ("float16", Types.FLOAT16),
}
"""Scalar columns with a tensor of their own: name → dtype."""

SIGNATURE = Signature(
    columns=(
        *(Column(name, dtype, nullable=name in ("city", "price")) for name, (dtype, _) in KINDS.items()),
        Column("width", "float32"),
        Column("days", "int32"),
        Column("image", "float32", (2, 3)),
    ),
    tensors=(
        *(
            Tensor(name, dtype, (name,), "array", null_text="missing" if dtype == "string" else "")
            for name, (dtype, _) in KINDS.items()
        ),
        Tensor("matrix", "float32", ("width", "days"), "matrix"),
        Tensor("image", "float32", ("image",), "array"),
    ),
    outputs=(
        Output("score", "float64", "score"),
        Output("label", "string", "label"),
        Output("is_high", "bool", "is_high"),
        Output("small", "float16", "small"),
        Output("total", "int64", "total"),
        Output("sides", "float32", "sides", shape=(3,)),
    ),
)


def mixed_rows(count: int, seed: int = 0) -> pl.DataFrame:
    """Random rows, a third of them with a missing city or price."""
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "city": [None if random.random() < 0.3 else str(random.choice(CITIES)) for _ in range(count)],
            "is_new": random.random(count) < 0.5,
            "count": random.integers(-(2**62), 2**62, count),
            "level": random.integers(0, 256, count, np.uint8),
            "price": [None if random.random() < 0.3 else random.standard_normal() for _ in range(count)],
            "half": pl.Series(random.standard_normal(count).astype(np.float16)),
            "width": random.standard_normal(count).astype(np.float32),
            "days": random.integers(-1000, 1000, count, np.int32),
            "image": pl.Series(random.standard_normal((count, 2, 3)).astype(np.float32)),
        },
        schema_overrides={"city": pl.String, "price": pl.Float64},
    )


def write_mixed_bundle(directory: Path) -> Path:
    """Its golden answers are those of ONNX Runtime alone."""
    graph = _graph()
    directory.mkdir(parents=True)
    onnx.save(graph, directory / "model.onnx")
    columns, _ = columns_of(mixed_rows(5))
    feeds = assemble(SIGNATURE, columns)
    session = onnxruntime.InferenceSession(directory / "model.onnx")
    answers = session.run([output.name for output in SIGNATURE.outputs], feeds)
    names = [output.name for output in SIGNATURE.outputs]
    write_goldens(directory, columns, dict(zip(names, answers, strict=True)))
    (directory / "MLmodel").write_text(describe_for_mlflow(SIGNATURE))
    manifest = Manifest(
        name="mixed",
        source=Source("by hand", "every kind of column", {}, "float32"),
        signature=SIGNATURE,
        row_block=1,
        parameters=count_parameters(graph),
        parity=Parity(5, 5, 1e-4, 0.0, "score", 0, 0),
        files=tuple(describe_file(path) for path in sorted(directory.iterdir())),
    )
    (directory / "manifest.json").write_bytes(manifest.to_bytes())
    return directory


def _graph() -> onnx.ModelProto:
    """score: the price (or 0), what the city counts, and the sum of the numbers; and something of every type."""
    numbers: dict[str, Any] = {"keys_strings": [*CITIES, "missing"], "values_floats": [1.0, 2.0, 3.0, 4.0, 0.5]}
    node = helper.make_node
    nodes = [
        node("LabelEncoder", ["city"], ["city_value"], domain="ai.onnx.ml", **numbers),
        *(node("Cast", [f"{name}"], [f"{name}_value"], to=Types.FLOAT) for name in ("is_new", "level", "half")),
        node("ReduceSum", ["matrix", "last"], ["matrix_value"], keepdims=0),
        node("Sum", ["city_value", "is_new_value", "level_value", "half_value", "matrix_value"], ["sum"]),
        node("Cast", ["sum"], ["sum_64"], to=Types.DOUBLE),
        node("IsNaN", ["price"], ["no_price"]),
        node("Where", ["no_price", "nothing", "price"], ["price_value"]),
        node("Add", ["sum_64", "price_value"], ["score"]),
        node("Greater", ["sum", "limit"], ["is_high"]),
        node("Cast", ["is_high"], ["is_high_value"], to=Types.INT64),
        node("Add", ["count", "is_high_value"], ["total"]),
        node("Add", ["half", "half"], ["small"]),
        node(
            "LabelEncoder", ["is_high_value"], ["label"], domain="ai.onnx.ml",
            keys_int64s=[0, 1], values_strings=["niedrig", "höher"],
        ),
        node("ReduceSum", ["image", "last"], ["sides"], keepdims=0),
    ]  # fmt: skip
    inputs = [helper.make_tensor_value_info(name, kind, ["rows"]) for name, (_, kind) in KINDS.items()]
    inputs += [
        helper.make_tensor_value_info("matrix", Types.FLOAT, ["rows", 2]),
        helper.make_tensor_value_info("image", Types.FLOAT, ["rows", 2, 3]),
    ]
    shapes: dict[str, Any] = {
        "score": (Types.DOUBLE, ["rows"]), "label": (Types.STRING, ["rows"]), "is_high": (Types.BOOL, ["rows"]),
        "small": (Types.FLOAT16, ["rows"]), "total": (Types.INT64, ["rows"]), "sides": (Types.FLOAT, ["rows", 3]),
    }  # fmt: skip
    constants = [
        helper.make_tensor("last", Types.INT64, [1], [1]),
        helper.make_tensor("nothing", Types.DOUBLE, [1], [0.0]),
        helper.make_tensor("limit", Types.FLOAT, [1], [100.0]),
    ]
    outputs = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in shapes.items()]
    graph = helper.make_graph(nodes, "mixed", inputs, outputs, constants)
    versions = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model
