"""ONNX Runtime on the CPU: one session, shared between threads, with no thread pool of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from mlops_kit.errors import BundleError, InputError, listed
from mlops_kit.schema import DTYPES, Array, Signature

ERRORS = (states.Fail, states.InvalidArgument, states.RuntimeException, states.NotImplemented, states.InvalidGraph)
DTYPES_OF_TYPES = {f"tensor({name})": name for name in DTYPES} | {
    "tensor(float)": "float32", "tensor(double)": "float64"
}  # fmt: skip
LOADING_ERRORS = (*ERRORS, states.InvalidProtobuf, states.NoSuchFile, states.NoModel, states.EPFail)


class OnnxRuntime:
    """A session over a model file or its serialized bytes. Rows are split over threads outside of it."""

    __slots__ = ("_names", "_run", "_session")

    def __init__(self, model: Path | bytes) -> None:
        try:
            session = onnxruntime.InferenceSession(
                str(model) if isinstance(model, Path) else model,
                session_options(),
                providers=["CPUExecutionProvider"],
            )
        except LOADING_ERRORS as error:
            raise BundleError("model.onnx", f"ONNX Runtime does not load it ({first_line(error)})") from error
        self._session = session
        self._names = [output.name for output in session.get_outputs()]
        self._run = session.run

    def check_signature(self, signature: Signature) -> None:
        """Raise BundleError if the model does not take and give the tensors that the signature names."""
        inputs = {value.name: value for value in self._session.get_inputs()}
        outputs = {value.name: value for value in self._session.get_outputs()}
        if inputs.keys() != {tensor.name for tensor in signature.tensors}:
            found = {tensor.name for tensor in signature.tensors} ^ inputs.keys()
            raise BundleError("model.onnx", f"its inputs are not those of the signature: {listed(sorted(found))}")
        for tensor in signature.tensors:
            value = inputs[tensor.name]
            width = len(tensor.columns) if tensor.layout == "matrix" else None
            if DTYPES_OF_TYPES.get(value.type) != tensor.dtype or not _has_width(value.shape, width):
                raise BundleError(
                    "model.onnx",
                    f"its input {tensor.name!r} is {value.type} of shape {value.shape}, and the signature says "
                    f"{tensor.dtype} of {len(tensor.columns)} columns",
                )
        for output in signature.outputs:
            if output.tensor not in outputs or not _has_column(outputs[output.tensor].shape, output.index):
                raise BundleError("model.onnx", f"it gives no {output.tensor!r} as the signature says")

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Input tensors by name in, every output by name out. Raises InputError where the model refuses them."""
        try:
            return dict(zip(self._names, cast("list[Array]", self._run(self._names, feeds)), strict=True))
        except UnicodeEncodeError as error:
            raise InputError("a text is not valid Unicode", f"{error.reason}", "repair the text") from error
        except ERRORS as error:
            raise InputError("the model cannot run on these rows", first_line(error)) from error


def _has_width(shape: list[Any], width: int | None) -> bool:
    """Whether an input of this shape, in which an unknown size is text or None, takes a matrix that wide."""
    return width is None or not shape or (len(shape) == 2 and (not isinstance(shape[1], int) or shape[1] == width))


def _has_column(shape: list[Any], index: int | None) -> bool:
    if index is None or not shape:
        return True
    return len(shape) == 2 and index >= 0 and (not isinstance(shape[1], int) or index < shape[1])


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
