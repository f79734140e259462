"""Inference over gRPC, as Triton's clients and the protocol's own messages ask for it, against what `predict` answers."""

import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2_grpc

import mlops_kit
from tests.bundles import NAMES
from tests.modes.batch.rows import make_rows
from tests.modes.online.grpc.echo import COLUMNS
from tests.modes.online.grpc.requests import FIELDS, inputs_of, typed_request
from tests.modes.online.server import RunningServer

FORMS = ("a matrix", "columns", "columns of one")


def matrix_of(count: int, seed: int = 0) -> "np.ndarray[Any, Any]":
    return np.ascontiguousarray(make_rows(count, seed).drop("id").to_numpy())


def expected(bundle: Path, matrix: "np.ndarray[Any, Any]") -> list[float]:
    answer: list[float] = (
        mlops_kit.load(bundle).predict(dict(zip(NAMES, matrix.T, strict=True)))["prediction"].tolist()
    )
    return answer


def arrays_of(form: str, matrix: "np.ndarray[Any, Any]") -> "dict[str, np.ndarray[Any, Any]]":
    if form == "a matrix":
        return {"input": matrix}
    columns = {name: np.ascontiguousarray(matrix[:, index]) for index, name in enumerate(NAMES)}
    return columns if form == "columns" else {name: values.reshape(-1, 1) for name, values in columns.items()}


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("form", FORMS)
def test_tritons_client_gets_what_predict_answers(
    client: triton.InferenceServerClient, tiny: Path, form: str, count: int
) -> None:
    matrix = matrix_of(count)
    answer = client.infer("tiny", inputs_of(arrays_of(form, matrix)), request_id="seven")
    assert answer.as_numpy("prediction").tolist() == expected(tiny, matrix)
    assert answer.get_response().id == "seven"
    assert len(answer.get_response().raw_output_contents) == 1


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("form", FORMS)
def test_typed_contents_are_answered_with_typed_contents(
    stub: service_pb2_grpc.GRPCInferenceServiceStub, tiny: Path, form: str, count: int
) -> None:
    matrix = matrix_of(count)
    answer = stub.ModelInfer(typed_request("tiny", arrays_of(form, matrix)))
    assert list(answer.outputs[0].contents.fp32_contents) == expected(tiny, matrix)
    assert list(answer.outputs[0].shape) == [count]
    assert not answer.raw_output_contents


@pytest.mark.anyio
async def test_tritons_asyncio_client_gets_what_predict_answers(server: RunningServer, tiny: Path) -> None:
    matrix = matrix_of(3)
    async with triton_aio.InferenceServerClient(server.grpc_address) as client:
        answer = await client.infer("tiny", inputs_of({"input": matrix}))
        assert await client.is_server_ready()
    assert answer.as_numpy("prediction").tolist() == expected(tiny, matrix)


@pytest.mark.parametrize(
    "rows", [slice(0, 3), slice(0, 1), slice(2, 3), slice(0, 0)], ids=["all", "first", "last", "none"]
)
def test_raw_tensors_of_every_datatype_come_back_as_they_were_sent(
    client: triton.InferenceServerClient, rows: slice
) -> None:
    columns = {name: values[rows] for name, values in COLUMNS.items()}
    answer = client.infer("echo", inputs_of(columns))
    for name, values in columns.items():
        found = answer.as_numpy(f"out_{name}")
        if name == "BYTES":
            assert [text.decode() for text in found.tolist()] == values.tolist()
        else:
            assert (found.dtype, found.tobytes()) == (values.dtype, values.tobytes())


def test_typed_tensors_of_every_datatype_that_has_a_field_come_back_as_they_were_sent(
    stub: service_pb2_grpc.GRPCInferenceServiceStub, client: triton.InferenceServerClient
) -> None:
    typed = {name: values for name, values in COLUMNS.items() if name in FIELDS}
    request = typed_request("echo", typed | {"FP16": np.zeros(3, np.float32)}, [f"out_{name}" for name in typed])
    answer = stub.ModelInfer(request)
    for tensor, (name, values) in zip(answer.outputs, typed.items(), strict=True):
        found = list(getattr(tensor.contents, FIELDS[name]))
        sent = [text.encode() for text in values] if name == "BYTES" else values.tolist()
        assert (tensor.name, tensor.datatype, found) == (f"out_{name}", name, sent)


def test_an_output_that_has_no_typed_form_makes_the_answer_raw(
    stub: service_pb2_grpc.GRPCInferenceServiceStub,
) -> None:
    request = typed_request(
        "echo", COLUMNS | {"FP16": COLUMNS["FP16"].astype(np.float32)}, ["out_FP16", "out_INT8"]
    )
    answer = stub.ModelInfer(request)
    assert list(answer.raw_output_contents) == [COLUMNS["FP16"].tobytes(), COLUMNS["INT8"].tobytes()]


def test_outputs_come_as_they_are_asked_for(client: triton.InferenceServerClient) -> None:
    wanted = [triton.InferRequestedOutput(name) for name in ("out_INT64", "out_BOOL")]
    answer = client.infer("echo", inputs_of(COLUMNS), outputs=wanted).get_response()
    assert [tensor.name for tensor in answer.outputs] == ["out_INT64", "out_BOOL"]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_messages_may_be_compressed(client: triton.InferenceServerClient, tiny: Path, algorithm: str) -> None:
    matrix = matrix_of(20)
    answer = client.infer("tiny", inputs_of({"input": matrix}), compression_algorithm=algorithm)
    assert answer.as_numpy("prediction").tolist() == expected(tiny, matrix)


def test_a_stream_answers_in_order_and_outlives_a_request_that_fails(
    client: triton.InferenceServerClient, tiny: Path
) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    matrices = [matrix_of(count, seed=count) for count in (1, 2, 3)]
    for matrix in (matrices[0], np.ones((1, 3), np.float32), *matrices[1:]):
        client.async_stream_infer("tiny", inputs_of({"input": matrix}))
    found = [answers.get(timeout=20) for _ in range(4)]
    client.stop_stream()
    assert "80 columns" in str(found.pop(1)[1])
    assert [result.as_numpy("prediction").tolist() for result, _ in found] == [
        expected(tiny, one) for one in matrices
    ]


def test_callers_at_once_get_their_own_answers(server: RunningServer, tiny: Path) -> None:
    matrices = [matrix_of(1 + seed % 3, seed) for seed in range(120)]
    clients = [triton.InferenceServerClient(server.grpc_address) for _ in range(12)]

    def ask(index: int) -> list[float]:
        answer = clients[index % 12].infer("tiny", inputs_of({"input": matrices[index]}))
        predictions: list[float] = answer.as_numpy("prediction").tolist()
        return predictions

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(ask, range(120))) == [expected(tiny, matrix) for matrix in matrices]
    for client in clients:
        client.close()


def test_metadata_tells_what_is_served(client: triton.InferenceServerClient) -> None:
    model = client.get_model_metadata("echo", as_json=True)
    server = client.get_server_metadata()
    index = {model.name: (model.version, model.state) for model in client.get_model_repository_index().models}
    assert (server.name, server.version) == ("mlkit", mlops_kit.__version__)
    assert model["inputs"] == [
        {"name": name, "datatype": name, "shape": ["-1"]} for name in model_datatypes(model)
    ]
    assert index["echo"] == (model["versions"][0], "READY")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("echo", model["versions"][0])


def model_datatypes(model: dict[str, Any]) -> list[str]:
    names = [tensor["name"] for tensor in model["inputs"]]
    assert sorted(names) == sorted(COLUMNS)
    return names
