"""What is refused says why in gRPC's own terms, and nothing that is sent harms the server."""

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.bundles import NAMES
from tests.modes.online.grpc.conftest import MOST_BYTES
from tests.modes.online.grpc.echo import COLUMNS
from tests.modes.online.grpc.requests import raw_request, typed_request

ROW = np.ones((1, 80), np.float32)
MATRIX = ("input", "FP32", (1, 80), ROW.tobytes())
METHOD = "/inference.GRPCInferenceService/ModelInfer"
INVALID = StatusCode.INVALID_ARGUMENT


def with_both() -> pb.ModelInferRequest:
    request = typed_request("tiny", {"input": ROW})
    request.raw_input_contents.append(ROW.tobytes())
    return request


def with_timeout(**value: Any) -> pb.ModelInferRequest:
    return raw_request("tiny", MATRIX, parameters={"timeout": pb.InferParameter(**value)})


def with_class_count() -> pb.ModelInferRequest:
    request = raw_request("tiny", MATRIX)
    request.outputs.add(name="prediction").parameters["classification"].int64_param = 3
    return request


def typed_as(datatype: str) -> pb.ModelInferRequest:
    request = typed_request("tiny", {"input": ROW})
    request.inputs[0].datatype = datatype
    return request


REFUSED: dict[str, tuple[Callable[[], pb.ModelInferRequest], StatusCode, str]] = {
    "an unknown model": (lambda: raw_request("tinny", MATRIX), StatusCode.NOT_FOUND, "tiny"),
    "an unknown version": (
        lambda: raw_request("tiny", MATRIX, model_version="7"), StatusCode.NOT_FOUND, "version 7",
    ),
    "no inputs": (lambda: raw_request("tiny"), INVALID, "no inputs"),
    "no contents": (
        lambda: pb.ModelInferRequest(model_name="tiny", inputs=[{"name": "i", "datatype": "FP32", "shape": [1, 80]}]),
        INVALID, "0 elements",
    ),
    "contents of another field": (lambda: typed_as("FP64"), INVALID, "0 elements"),
    "raw and typed": (with_both, INVALID, "raw_input_contents too"),
    "fewer raw than inputs": (
        lambda: pb.ModelInferRequest(
            model_name="tiny", inputs=[{"name": "a"}, {"name": "b"}], raw_input_contents=[b""]
        ),
        INVALID, "2 inputs.*1",
    ),
    "FP16 that is not raw": (lambda: typed_as("FP16"), INVALID, "only be raw"),
    "a missing column": (lambda: raw_request("tiny", ("x0", "FP32", (1,), b"1234")), INVALID, "missing columns.*'x1'"),
    "a narrow matrix": (lambda: raw_request("tiny", ("i", "FP32", (1, 1), b"1234")), INVALID, "80 columns"),
    "two of a name": (lambda: raw_request("tiny", MATRIX, MATRIX), INVALID, "same name"),
    "too few bytes": (lambda: raw_request("tiny", ("i", "FP32", (1, 80), b"secret")), INVALID, "6 bytes"),
    "a negative shape": (lambda: raw_request("tiny", ("i", "FP32", (-1, 80), b"")), INVALID, "shape"),
    "a huge shape": (lambda: raw_request("tiny", ("i", "FP32", (2**60, 80), b"")), INVALID, "shape"),
    "a huge shape of nothing": (lambda: raw_request("tiny", ("i", "FP32", (0, 2**62), b"")), INVALID, "too many elements"),
    "a typed huge shape of nothing": (
        lambda: pb.ModelInferRequest(
            model_name="tiny", inputs=[{"name": "i", "datatype": "FP32", "shape": [2**62, 2**62, 0]}]
        ),
        INVALID, "too many elements",
    ),
    "no shape": (lambda: raw_request("tiny", ("i", "FP32", (), b"1234")), INVALID, "shape"),
    "an unknown datatype": (lambda: raw_request("tiny", ("i", "FP31", (1,), b"")), INVALID, "datatype"),
    "text as numbers": (
        lambda: raw_request("tiny", ("i", "BYTES", (1, 80), b"\6\0\0\0secret" * 80)), INVALID, "a number",
    ),
    "no UTF-8": (
        lambda: pb.ModelInferRequest(
            model_name="echo",
            inputs=[{"name": "BYTES", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"\xff"]}}],
        ),
        INVALID, "UTF-8",
    ),
    "a number beyond its datatype": (
        lambda: pb.ModelInferRequest(
            model_name="echo",
            inputs=[{"name": "INT8", "datatype": "INT8", "shape": [1], "contents": {"int_contents": [4321]}}],
        ),
        INVALID, "element",
    ),
    "an unknown output": (lambda: raw_request("tiny", MATRIX, outputs=[{"name": "z"}]), INVALID, "'z'"),
    "an output made otherwise": (with_class_count, INVALID, "classification"),
    "no timeout": (lambda: with_timeout(int64_param=0), INVALID, "microseconds"),
    "another timeout": (lambda: with_timeout(string_param="secret"), INVALID, "microseconds"),
    "a timeout that is over": (lambda: with_timeout(int64_param=1), StatusCode.DEADLINE_EXCEEDED, "deadline"),
    "too much": (
        lambda: raw_request("tiny", ("i", "FP32", (1,), bytes(MOST_BYTES))), StatusCode.RESOURCE_EXHAUSTED, "too large",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "status", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_has_a_status_and_says_why(
    stub: service_pb2_grpc.GRPCInferenceServiceStub,
    make: Callable[[], pb.ModelInferRequest],
    status: StatusCode,
    message: str,
) -> None:
    with pytest.raises(grpc.RpcError, match=f"(?s){message}") as caught:
        stub.ModelInfer(make())
    assert caught.value.code() == status
    assert "secret" not in caught.value.details()


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_what_is_too_large_only_after_decompression_is_refused(
    stub: service_pb2_grpc.GRPCInferenceServiceStub, compression: grpc.Compression
) -> None:
    request = raw_request("tiny", ("i", "FP32", (1,), bytes(50_000_000)))
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request, compression=compression)
    assert caught.value.code() == StatusCode.RESOURCE_EXHAUSTED


def test_a_long_name_is_not_told_back_in_full(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(raw_request("é" * 50_000, MATRIX))
    assert caught.value.code() == StatusCode.NOT_FOUND


def test_other_calls_about_an_unknown_model_are_refused(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    for call, request in (
        (stub.ModelReady, pb.ModelReadyRequest(name="tinny")),
        (stub.ModelReady, pb.ModelReadyRequest(name="tiny", version="7")),
        (stub.ModelMetadata, pb.ModelMetadataRequest(name="tinny")),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request)
        assert caught.value.code() == StatusCode.NOT_FOUND


SIZES = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 2, 80, -1, 2**31, 2**60, 2**62])
CONTENTS = st.builds(
    pb.InferTensorContents,
    fp32_contents=st.lists(st.floats(width=32), max_size=3),
    fp64_contents=st.lists(st.floats(), max_size=3),
    int64_contents=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    bytes_contents=st.lists(st.binary(max_size=4), max_size=3),
)
INPUTS = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=st.sampled_from(["input", *NAMES[:2], *COLUMNS]) | st.text(max_size=5),
    datatype=st.sampled_from([*COLUMNS, "FP8", ""]),
    shape=st.lists(SIZES, max_size=3),
    contents=st.none() | CONTENTS,
)
REQUESTS = st.builds(
    pb.ModelInferRequest,
    model_name=st.sampled_from(["tiny", "echo"]),
    inputs=st.lists(INPUTS, max_size=3),
    raw_input_contents=st.lists(st.binary(max_size=400), max_size=3),
)


@settings(max_examples=150)
@given(st.binary(max_size=200) | REQUESTS.map(lambda request: request.SerializeToString()))
def test_whatever_is_sent_is_answered_or_refused_as_the_callers_mistake(
    channel: grpc.Channel, data: bytes
) -> None:
    try:
        channel.unary_unary(METHOD)(data, timeout=20)
    except grpc.RpcError as error:
        assert error.code() in (INVALID, StatusCode.NOT_FOUND), error.details()  # noqa: PT017 - it may also be answered
