"""Asking `mlkit serve` over gRPC, in the Open Inference Protocol, with raw contents.

All columns are one matrix where they have the same dtype, and a tensor each where not.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from mlops_kit.bench.asked_server import AskedServer, lacks_server
from mlops_kit.bench.commands import MODEL, BenchedServer, served
from mlops_kit.bench.interface import Subject
from mlops_kit.bench.load.grpc import GrpcTarget
from mlops_kit.errors import StoreError
from mlops_kit.frames import columns_of, join_rows
from mlops_kit.schema import Array, Columns, Signature

if TYPE_CHECKING:
    from mlops_kit.modes.online.grpc.proto.messages import ModelInferResponse

PATH = "/inference.GRPCInferenceService/ModelInfer"
TIMEOUT_S = 60
MATRIX = "all columns"
"""Any name that no column has."""

Ask: TypeAlias = "Callable[..., ModelInferResponse]"


why_not = lacks_server


@contextmanager
def open_mode(subject: Subject) -> Iterator[AskedServer]:
    """With a server of its own."""
    with served(subject) as server:
        yield AskedServer(server, partial(_ask, subject, server), partial(_aim, subject, server))


def _ask(subject: Subject, server: BenchedServer) -> Columns:
    """By grpcio, another client than the one that measures."""
    import grpc

    from mlops_kit.modes.online.grpc.proto.messages import ModelInferResponse

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        ask: Ask = channel.unary_unary(PATH, response_deserializer=ModelInferResponse.FromString)
        requests = _requests(subject.asked, subject.signature, 1)
        try:
            return join_rows([_read(ask(request, timeout=TIMEOUT_S)) for request in requests])
        except grpc.RpcError as error:
            raise StoreError("mlkit serve answers with an error over gRPC", str(error)) from error


def _aim(subject: Subject, server: BenchedServer, rows: int) -> GrpcTarget:
    return GrpcTarget(server.grpc_port, PATH, tuple(_requests(subject.asked, subject.signature, rows)))


def _requests(frame: pl.DataFrame, signature: Signature, rows: int) -> Iterator[bytes]:
    from mlops_kit.modes.online.grpc.proto.messages import ModelInferRequest
    from mlops_kit.modes.online.protocols.oip_tensors import datatype_of, to_bytes

    tensors = _tensors(frame, signature)
    for first in range(0, len(frame), rows):
        request = ModelInferRequest(model_name=MODEL)
        for name, tensor in tensors.items():
            values = tensor[first : first + rows]
            request.inputs.add(name=name, datatype=datatype_of(values), shape=values.shape)
            request.raw_input_contents.append(to_bytes(values))
        yield request.SerializeToString()


def _tensors(frame: pl.DataFrame, signature: Signature) -> dict[str, Array]:
    arrays, _ = columns_of(frame)
    columns = signature.columns
    dtypes = {column.dtype for column in columns}
    if len(dtypes) == 1 and "string" not in dtypes and len(columns) > 1 and not any(c.shape for c in columns):
        return {MATRIX: np.stack([arrays[column.name] for column in columns], 1).astype(columns[0].dtype)}
    return {
        column.name: arrays[column.name] if column.dtype == "string" else arrays[column.name].astype(column.dtype)
        for column in columns
    }


def _read(response: "ModelInferResponse") -> Columns:
    from mlops_kit.modes.online.protocols.oip_tensors import check_shape, from_bytes

    columns = {}
    for tensor, data in zip(response.outputs, response.raw_output_contents, strict=True):
        shape = check_shape(tensor.name, tensor.datatype, tuple(tensor.shape))
        columns[tensor.name] = np.array(from_bytes(tensor.name, *shape, data).values)
    return columns
