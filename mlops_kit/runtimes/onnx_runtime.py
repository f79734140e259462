"""ONNX Runtime on the CPU: one session, shared between threads, with no thread pool of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from mlops_kit.errors import BundleError, InputError
from mlops_kit.schema import Array

ERRORS = (states.Fail, states.InvalidArgument, states.RuntimeException, states.NotImplemented, states.InvalidGraph)
LOADING_ERRORS = (*ERRORS, states.InvalidProtobuf, states.NoSuchFile, states.NoModel, states.EPFail)


class OnnxRuntime:
    """A session over a model file or its serialized bytes. Rows are split over threads outside of it."""

    __slots__ = ("_names", "_run")

    def __init__(self, model: Path | bytes) -> None:
        try:
            session = onnxruntime.InferenceSession(
                str(model) if isinstance(model, Path) else model,
                session_options(),
                providers=["CPUExecutionProvider"],
            )
        except LOADING_ERRORS as error:
            raise BundleError("model.onnx", f"ONNX Runtime does not load it ({first_line(error)})") from error
        self._names = [output.name for output in session.get_outputs()]
        self._run = session.run

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Input tensors by name in, every output by name out. Raises InputError where the model refuses them."""
        try:
            return dict(zip(self._names, cast("list[Array]", self._run(self._names, feeds)), strict=True))
        except ERRORS as error:
            raise InputError("the model cannot run on these rows", first_line(error)) from error


def session_options() -> Any:
    """Options for many small calls from many threads: no pool, no spinning, no arena that never shrinks."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 4  # its errors are raised, too; on stderr they would be noise
    return options


def first_line(error: BaseException, most: int = 300) -> str:
    """The first line of a message that may be long."""
    text = str(error).strip().split("\n", 1)[0]
    return text if len(text) <= most else text[:most] + "…"
