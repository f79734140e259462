"""Inference requests and their answers as messages of the Open Inference Protocol.

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_grpc.md
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlops_kit.errors import InputError, listed
from mlops_kit.modes.online.features.as_of import NAME as AS_OF
from mlops_kit.modes.online.grpc.proto.messages import ModelInferRequest, ModelInferResponse
from mlops_kit.modes.online.protocols.oip_tensors import (
    InputTensor,
    check_shape,
    datatype_of,
    from_bytes,
    from_list,
    request_of,
    to_bytes,
)
from mlops_kit.modes.online.served_model import Request, ServedModel
from mlops_kit.schema import Array

FIELDS = {
    "bool": "bool_contents",
    **dict.fromkeys(("int8", "int16", "int32"), "int_contents"),
    "int64": "int64_contents",
    **dict.fromkeys(("uint8", "uint16", "uint32"), "uint_contents"),
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
    "string": "bytes_contents",
}
"""Where the elements of each dtype are, if they are not raw. float16 is always raw."""

UNKNOWN = ("classification", "shared_memory_region")
"""Parameters of an output that would make another answer of it."""


@dataclass(frozen=True, slots=True)
class Inference:
    """A parsed request: the rows, the caller's own deadline, and which outputs it wants in which form."""

    request: Request
    id: str
    outputs: Sequence[str]
    is_raw: bool
    timeout_s: float | None


def parse_inference(model: ServedModel, message: ModelInferRequest) -> Inference:
    """Raises InputError."""
    raw = message.raw_input_contents
    if not message.inputs:
        raise InputError("the request has no inputs")
    tensors = _read_raw(message) if raw else [_read_typed(tensor) for tensor in message.inputs]
    request = request_of(model, tensors)
    if message.parameters and AS_OF in message.parameters:
        value = message.parameters[AS_OF]
        model.set_time(request, {AS_OF: getattr(value, value.WhichOneof("parameter_choice") or "string_param")})
    return Inference(
        request,
        message.id,
        _wanted(model, message.outputs),
        bool(raw),
        _timeout(message) if message.parameters else None,
    )


def format_answer(model: ServedModel, inference: Inference, outputs: Sequence[Array]) -> ModelInferResponse:
    """The outputs that were asked for, in that order: raw if the inputs were, or if one of them cannot but be."""
    response = ModelInferResponse(model_name=model.name, model_version=model.version, id=inference.id)
    if inference.request.degraded:
        response.parameters["degraded"].string_param = ",".join(inference.request.degraded)
    by_name = model.named(outputs)
    is_raw = inference.is_raw or any(by_name[name].dtype == "float16" for name in inference.outputs)
    for name in inference.outputs:
        values = by_name[name]
        tensor = response.outputs.add(name=name, datatype=datatype_of(values), shape=values.shape)
        if is_raw:
            response.raw_output_contents.append(to_bytes(values))
        else:
            _write_typed(tensor, values)
    return response


def _read_raw(message: ModelInferRequest) -> list[InputTensor]:
    inputs, contents = message.inputs, message.raw_input_contents
    if len(inputs) != len(contents):
        raise InputError(f"there are {len(inputs)} inputs", f"raw_input_contents has {len(contents)}")
    tensors = []
    for tensor, data in zip(inputs, contents, strict=True):
        if tensor.HasField("contents"):
            raise InputError(f"input {tensor.name!r} has contents", "the request has raw_input_contents too")
        dtype, shape, count = check_shape(tensor.name, tensor.datatype, tuple(tensor.shape))
        tensors.append(from_bytes(tensor.name, dtype, shape, count, data))
    return tensors


def _read_typed(tensor: ModelInferRequest.InferInputTensor) -> InputTensor:
    dtype, shape, count = check_shape(tensor.name, tensor.datatype, tuple(tensor.shape))
    if dtype not in FIELDS:
        raise InputError(f"input {tensor.name!r} is FP16", "its contents can only be raw")
    elements = list(getattr(tensor.contents, FIELDS[dtype]))
    return from_list(tensor.name, dtype, shape, count, _decode(tensor.name, elements))


def _decode(name: str, elements: list[object]) -> list[object]:
    try:
        return [element.decode() if isinstance(element, bytes) else element for element in elements]
    except UnicodeDecodeError as error:
        raise InputError(f"input {name!r} has an element that is no UTF-8 text") from error


def _write_typed(tensor: ModelInferResponse.InferOutputTensor, values: Array) -> None:
    elements = values.ravel().tolist()
    if values.dtype == object:
        tensor.contents.bytes_contents.extend([str(element).encode() for element in elements])
    else:
        getattr(tensor.contents, FIELDS[values.dtype.name]).extend(elements)


def _wanted(model: ServedModel, outputs: Iterable[ModelInferRequest.InferRequestedOutputTensor]) -> Sequence[str]:
    names = [output.name for output in model.signature.outputs]
    if not outputs:
        return names
    wanted = [output.name for output in outputs]
    if len(wanted) > len(names):
        raise InputError("more outputs are asked for than the model has", f"it has {listed(names)}")
    if unknown := [name for name in wanted if name not in names]:
        raise InputError(f"the model has no output {listed(unknown)}", f"it has {listed(names)}")
    if refused := [name for name in UNKNOWN if any(name in output.parameters for output in outputs)]:
        raise InputError(f"outputs cannot have the parameter {listed(refused)}")
    return wanted


def _timeout(message: ModelInferRequest) -> float | None:
    """In microseconds, as Triton has it."""
    if "timeout" not in message.parameters:
        return None
    value = message.parameters["timeout"]
    timeout: int = value.int64_param or value.uint64_param
    if timeout <= 0:
        raise InputError("the parameter timeout is no number of microseconds")
    return timeout / 1e6
