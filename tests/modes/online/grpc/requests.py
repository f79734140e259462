"""Requests of Triton's client and of the protocol's messages."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import np_to_triton_dtype

Arrays = Mapping[str, "np.ndarray[Any, Any]"]

FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def inputs_of(arrays: Arrays) -> list[triton.InferInput]:
    """As Triton's client sends them: raw."""
    inputs = []
    for name, values in arrays.items():
        tensor = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    return inputs


def typed_request(model: str, arrays: Arrays, outputs: Sequence[str] = ()) -> pb.ModelInferRequest:
    """With typed contents."""
    request = pb.ModelInferRequest(model_name=model, outputs=[{"name": name} for name in outputs])
    for name, values in arrays.items():
        datatype = np_to_triton_dtype(values.dtype)
        tensor = request.inputs.add(name=name, datatype=datatype, shape=values.shape)
        elements = [value.encode() if isinstance(value, str) else value for value in values.ravel().tolist()]
        getattr(tensor.contents, FIELDS[datatype]).extend(elements)
    return request


def raw_request(model: str, *tensors: tuple[str, str, Sequence[int], bytes], **more: Any) -> pb.ModelInferRequest:
    """Of name, datatype, shape and bytes."""
    request = pb.ModelInferRequest(model_name=model, **more)
    for name, datatype, shape, data in tensors:
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(data)
    return request
