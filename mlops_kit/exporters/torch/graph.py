"""From a PyTorch network to an ONNX graph: capture it with torch.export, convert that, and clean the result."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx

from mlops_kit.errors import ConversionError
from mlops_kit.exporters.graphs.inspection import strip_traces

if TYPE_CHECKING:
    import torch

FAILURES = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError)
"""What tracing or running somebody's forward() raises; PyTorch's own errors are RuntimeErrors."""

BATCH = "batch"


def capture(module: "torch.nn.Module", inputs: Mapping[str, "torch.Tensor"]) -> "torch.export.ExportedProgram":
    """The network as a program in which the first dimension of every input varies together.

    Raises ConversionError with the reason in one sentence.
    """
    import torch

    batch = torch.export.Dim(BATCH)
    shapes = {name: {0: batch} for name in inputs}
    try:
        with quiet():
            return torch.export.export(module, (), dict(inputs), dynamic_shapes=shapes)
    except FAILURES as error:
        what = f"PyTorch cannot export {type(module).__name__}"
        raise ConversionError(what, *_explain(error)) from error


def convert(program: "torch.export.ExportedProgram", outputs: Sequence[str]) -> onnx.ModelProto:
    """The program as an ONNX graph whose outputs bear the given names. Raises ConversionError."""
    import torch

    try:
        with quiet():
            converted = torch.onnx.export(
                program,
                (),
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=list(input_values(program)),
                output_names=list(outputs),
            )
    except FAILURES as error:
        raise ConversionError("PyTorch cannot write this network as ONNX", *_explain(error)) from error
    if converted is None:
        raise ConversionError("PyTorch cannot write this network as ONNX", "its exporter returned nothing")
    model: onnx.ModelProto = converted.model_proto
    strip_traces(model)
    _name_batch(model)
    return model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what PyTorch prints, logs and warns of: stdout carries mlkit's own result.

    This holds for the whole process while it lasts.
    """
    level = logging.root.manager.disable
    silence = io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def reason_of(error: BaseException, most: int = 200) -> str:
    r"""The first sentence of what lies at the root of an error; PyTorch's own messages run to pages.

    >>> reason_of(ValueError("mat1 and mat2 shapes cannot be multiplied (3x5 and 4x2)\nmore"))
    'mat1 and mat2 shapes cannot be multiplied (3x5 and 4x2)'
    """
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.split(r"(?<=[.!]) ", lines[0])[0] if lines else type(error).__name__
    return text if len(text) <= most else text[:most] + "…"


def _explain(error: BaseException) -> tuple[str, str]:
    """Why the conversion failed, and what to do about it."""
    text = str(error)
    if "data-dependent" in text:
        return (
            f"its control flow depends on the values ({reason_of(error)})",
            "use torch.where or torch.cond instead of Python's if, for and while on tensors",
        )
    if "specialized" in text or "Constraints violated" in text:
        return (
            "forward() fixes the number of rows",
            "use x.shape[0] or -1 for the first dimension, and no Python loop over rows",
        )
    return reason_of(error), "rewrite that part of forward(), or export a network without it"


def _name_batch(model: onnx.ModelProto) -> None:
    """Give the symbol that PyTorch made up for the number of rows ("s77") its name."""
    values = [*model.graph.input, *model.graph.output]
    dims = [dim for value in values for dim in value.type.tensor_type.shape.dim]
    symbol = next((dim.dim_param for dim in dims if dim.dim_param), "")
    for dim in dims:
        if symbol and dim.dim_param:
            dim.dim_param = re.sub(rf"\b{re.escape(symbol)}\b", BATCH, dim.dim_param)


def input_values(program: "torch.export.ExportedProgram") -> dict[str, Any]:
    """The program's own inputs by name, as tensors without data; their sizes may be symbols."""
    wanted = set(program.graph_signature.user_inputs)
    return {n.name: n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.name in wanted}


def output_values(program: "torch.export.ExportedProgram") -> list[Any]:
    """What the program returns, flat and in order: tensors without data, and constants as they are."""
    by_name = {node.name: node.meta.get("val") for node in program.graph.nodes}
    return [by_name.get(output, output) for output in program.graph_signature.user_outputs]


def is_training(program: "torch.export.ExportedProgram") -> bool:
    """Whether an operator was captured in training mode: dropout that drops, normalisation by the batch."""
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        arguments = zip(schema.arguments, node.args, strict=False) if schema else ()
        if any(argument.name in ("training", "train") and value is True for argument, value in arguments):
            return True
    return False
