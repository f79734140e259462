"""What a server does with requests that its queue has no room for."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mlops_kit.modes.online.http.failures import mlflow_error
from mlops_kit.modes.online.http.overload import Gate
from mlops_kit.modes.online.http.routes import Route, Routes
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.metrics.layout import Layout
from mlops_kit.modes.online.served_model import ServedModel
from tests.bundles import NAMES, write_bundle
from tests.modes.online.loaded import load, make_models
from tests.modes.online.server import RunningServer, serving

KEY = {"x-api-key": "a-key-of-some-client"}
ROW = {"inputs": dict.fromkeys(NAMES, 1.0)}
PATHS = {
    "MLflow": "/invocations",
    "MLflow, by name": "/models/ti%20ny/invocations",
    "tensors": "/v2/models/ti%20ny/infer",
    "another way to write it": "/v2/models/%74i%20ny/infer",
}
WAIT_S = 20


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def request(path: str, *headers: str, body: bytes = json.dumps(ROW).encode()) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", f"content-length: {len(body)}")
    return "\r\n".join((*lines, *headers, "", "")).encode() + body


@pytest.fixture(scope="module")
def full(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two requests wait, and no third may."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(KEY["x-api-key"])
    keys.chmod(0o600)
    words = (
        "--queue",
        2,
        "--max-delay-ms",
        60_000,
        "--timeout-ms",
        60_000,
        "--drain-s",
        1,
        "--api-key-file",
        keys,
    )
    with serving(f"ti ny={bundle}", *words) as server, server.client(headers=KEY) as client:
        waiting = [socket.create_connection(server.address) for _ in range(2)]
        for connection in waiting:
            connection.sendall(request("/invocations", f"x-api-key: {KEY['x-api-key']}"))
        deadline = time.monotonic() + WAIT_S
        while 'mlkit_queued_requests{model="ti ny"} 2.0' not in client.get("/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield server
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_it_is_refused_in_the_protocols_form_and_says_when_to_come_again(full: RunningServer, path: str) -> None:
    with full.client(headers=KEY) as client:
        answers = [client.post(path, json=ROW) for _ in range(3)]
    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert "date" in answer.headers
        assert "2 wait already" in answer.json()["error" if path.startswith("/v2") else "message"]


def test_it_is_counted_once(full: RunningServer) -> None:
    def rejected(client: httpx.Client) -> float:
        lines = client.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith("mlkit_rejected_total")).split()[-1])

    with full.client(headers=KEY) as client:
        before = rejected(client)
        for path in PATHS.values():
            client.post(path, json=ROW)
            client.post(path, json=ROW, headers={"connection": "close"})
        assert rejected(client) - before == 2 * len(PATHS)


def test_who_has_no_key_is_told_so_before_anything_else(full: RunningServer) -> None:
    with full.client() as client:
        assert [client.post(path, json=ROW).status_code for path in PATHS.values()] == [401] * len(PATHS)


def receive(connection: socket.socket, end: bytes) -> bytes:
    """An answer that ends so."""
    answer = b""
    while not answer.endswith(end):
        answer += connection.recv(10_000)
    return answer


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_it_is_refused_before_its_body_comes_and_the_connection_goes_on(full: RunningServer, path: str) -> None:
    head, gap, body = request(path, "x-api-key: " + KEY["x-api-key"]).partition(b"\r\n\r\n")
    with socket.create_connection(full.address, timeout=WAIT_S) as connection:
        for _ in range(2):
            connection.sendall(head + gap)
            assert receive(connection, b"}").startswith(b"HTTP/1.1 429")
            connection.sendall(body + b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
            assert receive(connection, b"\r\n\r\n\n").startswith(b"HTTP/1.1 200")


def test_who_wants_the_connection_to_end_sees_it_end(full: RunningServer) -> None:
    with full.client(headers=KEY | {"connection": "close"}) as client:
        answer = client.post("/invocations", json=ROW)
    assert (answer.status_code, answer.headers["connection"]) == (429, "close")


@pytest.mark.anyio
async def test_those_of_the_same_turn_count_though_they_wait_in_no_queue_yet(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = SharedCounters(Layout(["tiny"]), 2)
    models = make_models(counters, Limits())
    await load(models, "tiny", bundle)

    async def answer(*_: object) -> None:
        """Is not asked."""

    route = Route(answer, mlflow_error, "mlflow", models.meter("tiny"))  # type: ignore[arg-type]
    routes = Routes({"/invocations": {"POST": route}}, lambda _parts: None, models.unnamed)
    gate = Gate(models, routes, 4, None)
    monkeypatch.setattr(ServedModel, "queued", 2)
    for _ in range(2):
        assert [gate.has_room(b"/invocations") for _ in range(4)] == [True, True, False, False]
        await asyncio.sleep(0)
