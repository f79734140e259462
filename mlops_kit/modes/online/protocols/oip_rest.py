"""The Open Inference Protocol over HTTP: inference requests and their answers, in JSON or with binary tensors.

The binary tensor extension puts the tensors' bytes behind the JSON, whose length is in a header:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mlops_kit.errors import InputError, listed
from mlops_kit.modes.online.protocols.json_body import parse_object
from mlops_kit.modes.online.protocols.media_types import JSON, media_type
from mlops_kit.modes.online.protocols.oip_tensors import (
    NAMES,
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

BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Inference:
    """A parsed request: the rows, the caller's own deadline, and how it wants the answer.

    `outputs` are names and whether they are wanted in binary.
    """

    request: Request
    id: str
    outputs: Sequence[tuple[str, bool]]
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Body:
    """An answer; `json_bytes` is the length of its JSON if tensors follow."""

    data: bytes
    json_bytes: int | None


def check_type(content_type: str) -> None:
    """Raises UnsupportedMediaTypeError.

    Triton's clients say nothing of the type, or that any body is bytes: only the header of its length tells.
    """
    if content_type:
        media_type(content_type, (JSON, BINARY))


def parse_inference(model: ServedModel, body: bytes, json_bytes: int | None) -> Inference:
    """`json_bytes` is what Inference-Header-Content-Length says. Raises InputError."""
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        raise InputError("Inference-Header-Content-Length is longer than the body")
    head = body if json_bytes is None else body[:json_bytes]
    tail = memoryview(body)[json_bytes:] if json_bytes is not None else None
    document = parse_object(head)
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs or not all(type(tensor) is dict for tensor in inputs):
        raise InputError("the request has no list of inputs")
    parameters = _parameters(document)
    request = request_of(model, _read_tensors(inputs, tail))
    model.set_time(request, parameters)
    name = document.get("id", "")
    if type(name) not in (str, int):
        raise InputError("the id is no text")
    return Inference(
        request,
        name if isinstance(name, str) else str(name),
        _wanted(model, document.get("outputs"), is_binary=parameters.get("binary_data_output") is True),
        _timeout(parameters),
    )


def format_answer(model: ServedModel, inference: Inference, outputs: Sequence[Array]) -> Body:
    """The outputs that were asked for, in that order."""
    by_name = model.named(outputs)
    tail: list[bytes] = []
    tensors = []
    for name, is_binary in inference.outputs:
        values = by_name[name]
        tensor: dict[str, Any] = {"name": name, "datatype": datatype_of(values), "shape": list(values.shape)}
        if is_binary:
            tail.append(to_bytes(values))
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            tensor["data"] = values.ravel().tolist()
        tensors.append(tensor)
    document: dict[str, Any] = {"model_name": model.name, "model_version": model.version, "outputs": tensors}
    if inference.request.degraded:
        document["parameters"] = {"degraded": ",".join(inference.request.degraded)}
    if inference.id:
        document["id"] = inference.id
    head = orjson.dumps(document)
    return Body(b"".join((head, *tail)), len(head)) if tail else Body(head, None)


def describe(model: ServedModel) -> dict[str, Any]:
    """The model's metadata."""
    signature = model.signature
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": column.name, "datatype": NAMES[column.dtype], "shape": [-1, *_sizes(column.shape)]}
            for column in signature.columns
        ],
        "outputs": [
            {"name": output.name, "datatype": NAMES[output.dtype], "shape": [-1, *_sizes(output.shape)]}
            for output in signature.outputs
        ],
        "parameters": {"digest": model.digest}
        | ({"optional_inputs": sorted(model.optional)} if model.optional else {}),
    }


def _sizes(shape: Sequence[int | None]) -> list[int]:
    return [-1 if size is None else size for size in shape]


def _read_tensors(inputs: Sequence[Mapping[str, Any]], tail: memoryview | None) -> list[InputTensor]:
    tensors = []
    position = 0
    for tensor in inputs:
        name = tensor.get("name")
        if not isinstance(name, str):
            raise InputError("an input has no name")
        dtype, shape, count = check_shape(name, tensor.get("datatype"), tensor.get("shape"))
        size = _parameters(tensor).get("binary_data_size")
        if size is None:
            tensors.append(from_list(name, dtype, shape, count, tensor.get("data")))
            continue
        if tail is None or type(size) is not int or not 0 <= size <= len(tail) - position:
            raise InputError(f"input {name!r}: binary_data_size does not fit the body")
        tensors.append(from_bytes(name, dtype, shape, count, tail[position : position + size]))
        position += size
    if tail is not None and position != len(tail):
        raise InputError("the body is longer than its inputs say")
    return tensors


def _wanted(model: ServedModel, outputs: Any, *, is_binary: bool) -> list[tuple[str, bool]]:
    names = [output.name for output in model.signature.outputs]
    if not outputs:
        return [(name, is_binary) for name in names]
    if not isinstance(outputs, list) or not all(type(output) is dict for output in outputs):
        raise InputError("outputs is no list of objects")
    wanted = [
        (output.get("name"), _parameters(output).get("binary_data", is_binary) is True) for output in outputs
    ]
    if len(wanted) > len(names):
        raise InputError("more outputs are asked for than the model has", f"it has {listed(names)}")
    if not all(type(name) is str for name, _ in wanted):
        raise InputError("an output has no name")
    if unknown := [name for name, _ in wanted if name not in names]:
        raise InputError(f"the model has no output {listed(unknown)}", f"it has {listed(names)}")
    return wanted


def _parameters(document: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = document.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InputError("parameters is no object")
    return parameters


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    """In microseconds, as Triton has it."""
    timeout = parameters.get("timeout")
    if timeout is None:
        return None
    if type(timeout) is not int or timeout <= 0:
        raise InputError("the parameter timeout is no number of microseconds")
    return timeout / 1e6
