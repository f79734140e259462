"""The server as clients meet it: over HTTP, against what `predict` answers."""

import gzip
import io
import json
import re
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import polars as pl
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

import mlops_kit
from tests.bundles import NAMES, WEIGHTS, write_bundle
from tests.cli.mlkit import mlkit
from tests.modes.batch.rows import make_rows
from tests.modes.online.server import RunningServer, serving


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[RunningServer]:
    with serving(bundle, "--max-body", "200kB", "--timeout-ms", "20000") as server:
        yield server


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def rows_of(count: int, seed: int = 0) -> pl.DataFrame:
    return make_rows(count, seed).drop("id")


def expected(bundle: Path, rows: pl.DataFrame) -> list[float]:
    predictions: list[float] = mlops_kit.load(bundle).predict(rows)["prediction"].tolist()
    return predictions


def parquet_of(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()


MLFLOW_FORMS: dict[str, Callable[[pl.DataFrame], tuple[str, bytes]]] = {
    "split": lambda rows: (
        "application/json",
        json.dumps({"dataframe_split": {"columns": rows.columns, "data": [list(row) for row in rows.rows()]}}).encode(),
    ),
    "records": lambda rows: ("application/json", json.dumps({"dataframe_records": rows.to_dicts()}).encode()),
    "instances as records": lambda rows: ("application/json", json.dumps({"instances": rows.to_dicts()}).encode()),
    "instances as lists": lambda rows: (
        "application/json; charset=utf-8", json.dumps({"instances": [list(row) for row in rows.rows()]}).encode(),
    ),
    "inputs": lambda rows: ("application/json", json.dumps({"inputs": rows.to_dict(as_series=False)}).encode()),
    "CSV": lambda rows: ("text/csv", rows.write_csv().encode()),
    "Parquet": lambda rows: ("application/vnd.apache.parquet", parquet_of(rows)),
}  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("form", MLFLOW_FORMS)
def test_every_form_of_mlflow_is_answered_as_predict_does(
    client: httpx.Client, bundle: Path, form: str, count: int
) -> None:
    rows = rows_of(count)
    content_type, body = MLFLOW_FORMS[form](rows)
    answer = client.post("/invocations", content=body, headers={"content-type": content_type})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": [{"prediction": value} for value in expected(bundle, rows)]}


def test_one_row_may_be_given_by_its_values(client: httpx.Client, bundle: Path) -> None:
    rows = rows_of(1)
    answer = client.post("/invocations", json={"inputs": rows.row(0, named=True)})
    assert answer.json()["predictions"] == [{"prediction": expected(bundle, rows)[0]}]


def tensor(name: str, values: Any, datatype: str = "FP32") -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(np.shape(values)),
        "data": np.asarray(values).tolist(),
    }


def matrix_of(rows: pl.DataFrame) -> "np.ndarray[Any, Any]":
    return rows.to_numpy()


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("form", ["columns", "columns of one", "a matrix"])
def test_tensors_are_columns_or_one_matrix(client: httpx.Client, bundle: Path, form: str, count: int) -> None:
    rows = rows_of(count)
    match form:
        case "a matrix":
            inputs = [tensor("input", matrix_of(rows))]
        case "columns":
            inputs = [tensor(name, rows[name].to_numpy()) for name in NAMES]
        case _:
            inputs = [tensor(name, rows[name].to_numpy().reshape(-1, 1)) for name in NAMES]
    answer = client.post("/v2/models/tiny/infer", json={"id": "seven", "inputs": inputs}).json()
    assert answer["id"] == "seven"
    assert answer["model_name"] == "tiny"
    assert answer["outputs"] == [
        {"name": "prediction", "datatype": "FP32", "shape": [count], "data": expected(bundle, rows)}
    ]


def binary(inputs: dict[str, "np.ndarray[Any, Any]"], **more: Any) -> tuple[bytes, dict[str, str]]:
    described = [
        {"name": name, "datatype": "FP32", "shape": list(values.shape), "parameters": {"binary_data_size": values.nbytes}}
        for name, values in inputs.items()
    ]  # fmt: skip
    head = json.dumps({"inputs": described, **more}).encode()
    body = head + b"".join(values.tobytes() for values in inputs.values())
    return body, {"inference-header-content-length": str(len(head))}


def test_tensors_go_and_come_in_binary(client: httpx.Client, bundle: Path) -> None:
    rows = rows_of(5)
    body, headers = binary({"input": matrix_of(rows)}, parameters={"binary_data_output": True})
    answer = client.post("/v2/models/tiny/infer", content=body, headers=headers)
    length = int(answer.headers["inference-header-content-length"])
    output = json.loads(answer.content[:length])["outputs"][0]
    assert output["parameters"] == {"binary_data_size": 20}
    assert np.frombuffer(answer.content[length:], np.float32).tolist() == expected(bundle, rows)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_may_be_compressed(client: httpx.Client, bundle: Path, coding: str) -> None:
    rows = rows_of(2)
    _, body = MLFLOW_FORMS["split"](rows)
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    headers = {"content-type": "application/json", "content-encoding": coding}
    answer = client.post("/invocations", content=packed, headers=headers)
    assert [row["prediction"] for row in answer.json()["predictions"]] == expected(bundle, rows)


ROW = dict.fromkeys(NAMES, 1.0)

REFUSED: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "no JSON": ("/invocations", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "JSON"),
    "a list": ("/invocations", {"json": [1]}, 400, "no JSON object"),
    "no form": ("/invocations", {"json": {"rows": []}}, 400, "exactly one of"),
    "two forms": ("/invocations", {"json": {"inputs": {}, "instances": []}}, 400, "exactly one of"),
    "a missing column": ("/invocations", {"json": {"dataframe_records": [{}]}}, 400, "missing columns.*'x0'"),
    "text": ("/invocations", {"json": {"inputs": ROW | {"x3": "secret"}}}, 400, "'x3'.*a number"),
    "a ragged frame": (
        "/invocations", {"json": {"dataframe_split": {"columns": ["x0"], "data": [[1, 2]]}}}, 400, "columns",
    ),
    "a short instance": ("/invocations", {"json": {"instances": [[1, 2]]}}, 400, "80 values"),
    "an unknown type": (
        "/invocations", {"content": b"x", "headers": {"content-type": "application/pdf"}}, 415, "application/json",
    ),
    "another charset": (
        "/invocations", {"content": b"x", "headers": {"content-type": "text/csv; charset=latin-1"}}, 415, "latin-1",
    ),
    "too much": ("/invocations", {"content": b" " * 300_000, "headers": {"content-type": "text/csv"}}, 413, "200,000"),
    "a bomb": (
        "/invocations",
        {
            "content": gzip.compress(b" " * 10_000_000),
            "headers": {"content-type": "text/csv", "content-encoding": "gzip"},
        },
        413, "200,000",
    ),
    "no gzip": (
        "/invocations", {"content": b"x", "headers": {"content-type": "text/csv", "content-encoding": "gzip"}}, 400, "gzip",
    ),
    "no Parquet": (
        "/invocations", {"content": b"x", "headers": {"content-type": "application/vnd.apache.parquet"}}, 400, "Parquet",
    ),
    "no deadline": ("/invocations", {"json": {}, "headers": {"x-timeout-ms": "soon"}}, 400, "milliseconds"),
    "a form": (
        "/invocations", {"data": {"x": "1"}}, 415, "-H 'Content-Type: application/json'",
    ),
    "no type": ("/invocations", {"content": b"x"}, 415, "does not say what its body is"),
    "no inputs": ("/v2/models/tiny/infer", {"json": {}}, 400, "inputs"),
    "an empty list of inputs": ("/v2/models/tiny/infer", {"json": {"inputs": []}}, 400, "list of inputs is empty"),
    "an unknown input": ("/v2/models/tiny/infer", {"json": {"inputs": [tensor("y", [[1.0]])]}}, 400, "80 columns"),
    "an unknown output": (
        "/v2/models/tiny/infer",
        {"json": {"inputs": [tensor("i", [[1.0] * 80])], "outputs": [{"name": "z"}]}}, 400, "'z'",
    ),
    "a wrong shape": (
        "/v2/models/tiny/infer",
        {"json": {"inputs": [{"name": "i", "datatype": "FP32", "shape": [2**60], "data": [1]}]}}, 400, "elements",
    ),
    "a negative shape": (
        "/v2/models/tiny/infer",
        {"json": {"inputs": [{"name": "i", "datatype": "FP32", "shape": [-1], "data": [1]}]}}, 400, "shape",
    ),
    "an unknown datatype": (
        "/v2/models/tiny/infer",
        {"json": {"inputs": [{"name": "i", "datatype": "FP31", "shape": [1], "data": [1]}]}}, 400, "datatype",
    ),
    "an unknown model": ("/v2/models/tinny/infer", {"json": {}}, 404, "tiny"),
    "an unknown version": ("/v2/models/tiny/versions/7/infer", {"json": {}}, 404, "no version 7 of the model 'tiny'"),
    "an unknown path": ("/v3", {"json": {}}, 404, "/v3"),
    "another method": ("/v2/health/live", {"json": {}}, 405, "GET"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "request_", "status", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_says_why_in_the_protocols_own_form(
    client: httpx.Client, path: str, request_: dict[str, Any], status: int, message: str
) -> None:
    answer = client.post(path, **request_)
    document = answer.json()
    assert answer.status_code == status
    said = document["error"] if path.startswith("/v2") else document["message"]
    assert re.search(message, said), said
    assert "secret" not in said
    assert client.get("/v2/health/live").status_code == 200


INFER_TYPES = {
    "": 200,  # as Triton's client
    "application/json": 200,
    "Application/JSON; charset=UTF-8": 200,
    "application/octet-stream": 200,  # as Triton's client for asyncio
    "application/json; charset=latin-1": 415,
    "application/x-www-form-urlencoded": 415,
    "text/csv": 415,
    "application/vnd.apache.parquet": 415,
    "json": 415,
}


@pytest.mark.parametrize(("content_type", "status"), INFER_TYPES.items())
@pytest.mark.parametrize("form", ["JSON", "binary"])
def test_tensors_come_as_json_or_bytes_and_as_nothing_else(
    client: httpx.Client, form: str, content_type: str, status: int
) -> None:
    body, headers = binary({"input": np.ones((1, 80), np.float32)})
    if form == "JSON":
        body, headers = json.dumps({"inputs": [tensor("input", np.ones((1, 80)))]}).encode(), {}
    headers |= {"content-type": content_type} if content_type else {}
    answer = client.post("/v2/models/tiny/infer", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    if status == 415:
        assert "application/json, application/octet-stream" in answer.json()["error"]


def test_a_wrong_method_is_the_callers_mistake(client: httpx.Client) -> None:
    assert client.get("/invocations").json()["error_code"] == "BAD_REQUEST"


def test_binary_sizes_that_do_not_fit_are_refused(client: httpx.Client) -> None:
    values = np.ones((1, 80), np.float32)
    for size in (-1, 2**62, values.nbytes - 4, values.nbytes + 4, "all"):
        body, headers = binary({"input": values})
        head = body[: int(headers["inference-header-content-length"])]
        wrong = head.replace(b'"binary_data_size": 320', f'"binary_data_size": {json.dumps(size)}'.encode())
        sent = wrong + values.tobytes()
        answer = client.post(
            "/v2/models/tiny/infer", content=sent, headers={"inference-header-content-length": str(len(wrong))}
        )
        assert answer.status_code == 400, size


def test_health_and_metadata_tell_what_is_served(client: httpx.Client, bundle: Path) -> None:
    digest = mlops_kit.load(bundle).bundle.digest  # type: ignore[union-attr]
    model = client.get("/v2/models/tiny").json()
    assert client.get("/ping").status_code == client.get("/health").status_code == 200
    assert client.get("/version").text == mlops_kit.__version__
    assert client.get("/v2").json()["name"] == "mlkit"
    assert client.get(f"/v2/models/tiny/versions/{model['versions'][0]}/ready").json()["ready"]
    assert model["parameters"] == {"digest": digest}
    assert model["inputs"][0] == {"name": "x0", "datatype": "FP32", "shape": [-1]}


def test_callers_at_once_get_their_own_answers(client: httpx.Client, bundle: Path) -> None:
    frames = [rows_of(1 + seed % 3, seed) for seed in range(120)]
    answers = [expected(bundle, frame) for frame in frames]

    def ask(frame: pl.DataFrame) -> list[float]:
        _, body = MLFLOW_FORMS["split"](frame)
        answer = client.post("/invocations", content=body, headers={"content-type": "application/json"})
        return [row["prediction"] for row in answer.json()["predictions"]]

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(ask, frames)) == answers


def test_several_models_are_told_apart_by_name(bundle: Path, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", weights=WEIGHTS * 2)
    rows = rows_of(2)
    with serving(f"one={bundle}", f"two={other}") as server, server.client() as client:
        _, body = MLFLOW_FORMS["split"](rows)
        for name, folder in (("one", bundle), ("two", other)):
            answer = client.post(
                f"/models/{name}/invocations", content=body, headers={"content-type": "application/json"}
            )
            assert [row["prediction"] for row in answer.json()["predictions"]] == expected(folder, rows)
        unnamed = client.post("/invocations", content=body)
        assert (unnamed.status_code, "/models/NAME/invocations" in unnamed.json()["message"]) == (404, True)


def test_sigterm_answers_what_has_begun_and_exits_with_0(bundle: Path) -> None:
    with serving(bundle) as server, server.client() as client:
        client.get("/ping")
        code, said = server.stop()
        assert code == 0, said
        assert "ready" in said
        with pytest.raises(httpx.TransportError):
            client.get("/ping")


def test_a_client_that_sends_half_a_body_is_cut(bundle: Path) -> None:
    with serving(bundle, "--read-timeout-s", "0.5") as server:
        host, _, port = server.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
            )
            started = time.monotonic()
            answer = connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < 5


def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path: Path) -> None:
    done = mlkit("serve", tmp_path / "nothing")
    assert done.returncode == 2
    assert "no such bundle" in done.stderr


def test_of_several_models_the_one_that_cannot_be_loaded_is_named(bundle: Path, tmp_path: Path) -> None:
    bad = write_bundle(tmp_path / "bad")
    (bad / "model.onnx").write_bytes(b"nothing")
    done = mlkit("serve", f"good={bundle}", f"bad={bad}", "--port", 0, "--grpc-port", 0)
    assert (done.returncode, "model bad: model.onnx: refused" in done.stderr) == (2, True)


USELESS: dict[str, tuple[tuple[str, ...], str]] = {
    "a root without keys": (("--model-root", "."), "no use without --admin-key-file"),
    "a root that is not there": (
        ("--model-root", "nowhere", "--admin-key-file", "{keys}"),
        "nowhere: no such folder",
    ),
}


@pytest.mark.parametrize(("words", "message"), USELESS.values(), ids=USELESS)
def test_what_would_be_of_no_use_is_refused(
    bundle: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k" * 16)
    done = mlkit("serve", bundle, "--port", 0, "--grpc-port", 0, *(word.format(keys=keys) for word in words))
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_a_port_that_is_taken_is_told(bundle: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = mlkit("serve", bundle, "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert "choose another --port" in done.stderr


def test_a_model_may_have_a_name_that_paths_have_to_encode(bundle: Path) -> None:
    row = dict.fromkeys(NAMES, 1.0)
    tensors = [{"name": name, "datatype": "FP32", "shape": [1], "data": [1.0]} for name in NAMES]
    with serving(f"zwölf Monate={bundle}") as server, server.client() as client:
        for path, body in (
            ("/models/{}/invocations", {"inputs": row}),
            ("/v2/models/{}/infer", {"inputs": tensors}),
        ):
            assert client.post(path.format("zw%C3%B6lf%20Monate"), json=body).status_code == 200
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            assert stub.ModelReady(service_pb2.ModelReadyRequest(name="zwölf Monate"), timeout=20).ready
