"""A bundle with a column of every datatype, each of which comes back as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

import mlops_kit
from mlops_kit.modes.online.protocols.oip_tensors import DATATYPES

COLUMNS: dict[str, "np.ndarray[Any, Any]"] = {
    "BOOL": np.array([False, True, True]),
    **{
        f"INT{bits}": np.array([-(2 ** (bits - 1)), 0, 2 ** (bits - 1) - 1], f"int{bits}")
        for bits in (8, 16, 32, 64)
    },
    **{f"UINT{bits}": np.array([0, 1, 2**bits - 1], f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.array([0.1, -0.0, np.inf], f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.array(["a", "ü €", ""], object),
}
"""Datatype, which is the column's name too, → values."""


def write_echo(directory: Path) -> Path:
    """Inputs are called after their datatypes; the outputs have `out_` before."""
    types = {name: helper.np_dtype_to_tensor_dtype(np.dtype(np.str_ if dtype == "string" else dtype))
             for name, dtype in DATATYPES.items()}  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"out_{name}"]) for name in types],
        "echo",
        [helper.make_tensor_value_info(name, of, ["rows"]) for name, of in types.items()],
        [helper.make_tensor_value_info(f"out_{name}", of, ["rows"]) for name, of in types.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, directory / "echo.onnx")
    mlops_kit.export(directory / "echo.onnx", sample=COLUMNS, out=directory / "echo", name="echo")
    return directory / "echo"
