"""What requests get while the store is down, hangs, or is not there at first."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import tritonclient.grpc as triton_grpc

from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.records import CHECKPOINT, now_us, source_key
from mlops_kit.stores.interface import Write
from mlops_kit.stores.resolve import open_store
from tests.cli.mlkit import COMMAND
from tests.features.online.stores import new_store
from tests.modes.online.asking import metrics_of
from tests.modes.online.features.conftest import PATIENT
from tests.modes.online.features.project import Project, row
from tests.modes.online.grpc.requests import typed_request
from tests.modes.online.server import START_S, RunningServer, serving
from tests.servers.valkey import ValkeyServer, run_valkey

SOURCES = "departures,flown,airports"
BODY = {"inputs": row()}
TENSORS = {
    "inputs": [
        {"name": "origin", "datatype": "BYTES", "shape": [1], "data": ["JFK"]},
        {"name": "flight", "datatype": "INT64", "shape": [1], "data": [1]},
        {"name": "miles", "datatype": "FP64", "shape": [1], "data": [1.0]},
        {"name": "distance", "datatype": "FP64", "shape": [1], "data": [1.0]},
    ]
}


@pytest.fixture
def valkey(tmp_path: Path, project: Project) -> Iterator[ValkeyServer]:
    """With the project's history, which it still has when it is started again."""
    (tmp_path / "valkey").mkdir()
    with run_valkey(tmp_path / "valkey", "--appendonly", "yes", "--appendfsync", "always") as server:
        project.fill(uri_of(server))
        yield server


def uri_of(valkey: ValkeyServer) -> str:
    return f"redis://127.0.0.1:{valkey.port}/0"


def ask(server: RunningServer, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}/invocations", json=BODY, headers=headers, timeout=20)


def await_whole(server: RunningServer) -> None:
    """Until it looks features up again."""
    deadline = time.monotonic() + START_S
    while "x-mlkit-degraded" in (answer := ask(server)).headers or answer.status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def prediction(answer: httpx.Response) -> float:
    found: float = answer.json()["predictions"][0]["prediction"]
    return found


def test_without_its_store_a_server_answers_with_defaults_says_so_and_recovers(
    project: Project, valkey: ValkeyServer
) -> None:
    with serving(
        project.bundle, "--store", uri_of(valkey), "--store-timeout-ms", 2000, "--timeout-ms", 9000
    ) as server:
        whole = prediction(ask(server))
        valkey.kill()
        degraded = ask(server)
        assert (degraded.status_code, degraded.headers["x-mlkit-degraded"]) == (200, SOURCES)
        defaults = {"mean_1h": 0.5, "last_carrier": "?", "std_30d": -1.0, "longest": 0.0, "elevation": -5.0}
        assert prediction(degraded) == project.predict_row(row(**defaults, n_1h=0, flights=0)) != whole
        tensors = httpx.post(f"{server.url}/v2/models/eta/infer", json=TENSORS, timeout=20).json()
        assert tensors["parameters"] == {"degraded": SOURCES}
        client = triton_grpc.InferenceServerClient(server.grpc_address)
        response = client._client_stub.ModelInfer(grpc_request())
        assert response.parameters["degraded"].string_param == SOURCES
        client.close()
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200
        found = metrics_of(server)
        assert found["mlkit_degraded_requests_total", "eta"] == 3
        assert found["mlkit_missing_keys_total", "eta", "departures"] == 0
        assert found["mlkit_failed_lookups_total", "eta"] >= 1
        valkey.start()
        await_whole(server)
        assert prediction(ask(server)) == whole


def grpc_request() -> Any:
    import numpy as np

    arrays = {
        "origin": np.array(["JFK"], object), "flight": np.array([1]),
        "miles": np.array([1.0]), "distance": np.array([1.0]),
    }  # fmt: skip
    return typed_request("eta", arrays)


def test_a_server_may_refuse_instead(project: Project, valkey: ValkeyServer) -> None:
    words = ("--store", uri_of(valkey), "--store-failure", "refuse", "--store-timeout-ms", 2000)
    with serving(project.bundle, *words) as server:
        assert ask(server).status_code == 200
        valkey.kill()
        refused = ask(server)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert str(valkey.port) not in refused.text
        valkey.start()
        await_whole(server)


def test_a_store_that_hangs_costs_one_request_its_time_and_no_request_its_deadline(
    project: Project, valkey: ValkeyServer
) -> None:
    words = ("--store", uri_of(valkey), "--store-timeout-ms", 3000, "--timeout-ms", 9000)
    with serving(project.bundle, *words) as server:
        ask(server)
        assert valkey.process is not None
        valkey.process.send_signal(signal.SIGSTOP)
        try:
            late = ask(server, **{"x-timeout-ms": "100"})
            assert late.status_code == 504
            began = time.monotonic()
            answers = [ask(server) for _ in range(10)]
            # One at a time: if each waited for the store, they would take ten times as long.
            assert time.monotonic() - began < 20
            assert {answer.headers.get("x-mlkit-degraded") for answer in answers} == {SOURCES}
        finally:
            valkey.process.send_signal(signal.SIGCONT)
        await_whole(server)


def test_a_server_is_not_ready_before_its_store_has_answered(project: Project, tmp_path: Path) -> None:
    with run_valkey(tmp_path) as valkey:
        project.fill(uri_of(valkey))
        valkey.kill()
        words = ["serve", str(project.bundle), "--store", uri_of(valkey), "--port", "0", "--grpc-port", "0"]
        with subprocess.Popen(
            [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stderr is not None
                url = process.stdout.readline().strip()
                assert "starting" in process.stderr.readline()
                assert "not ready, because the store of the features does not answer" in process.stderr.readline()
                assert httpx.get(f"{url}/v2/health/ready").status_code == 503
                valkey.start()
                said = process.stderr.readline()
                assert "the store has nothing of departures, flown, airports" in said
                assert "ready at" in process.stderr.readline()
            finally:
                process.terminate()


def test_a_damaged_value_degrades_its_source_alone_for_requests_of_its_key_alone(
    project: Project, valkey: ValkeyServer
) -> None:
    with valkey.client() as client:
        space = next(name for name in client.keys("*") if "events/departures" in name)
        client.hset(space, "sEWR", "12345678damaged")
    words = ("--store", uri_of(valkey), "--store-timeout-ms", 5000, "--timeout-ms", 9000, "--request-time")
    with serving(project.bundle, *words) as server:
        assert "x-mlkit-degraded" not in ask(server).headers
        at_us = now_us()
        body = {"inputs": row("EWR"), "params": {"as_of": at_us}}
        damaged = httpx.post(f"{server.url}/invocations", json=body, timeout=20)
        assert damaged.headers["x-mlkit-degraded"] == "departures"
        defaults = {"mean_1h": 0.5, "n_1h": 0, "last_carrier": "?", "std_30d": -1.0}
        whole = project.joined(pl.DataFrame([row("EWR")]), at_us).to_dicts()[0]
        assert prediction(damaged) == project.predict_row(whole | defaults)
        found = metrics_of(server)
        assert found["mlkit_degraded_requests_total", "eta"] == 1
        assert "x-mlkit-degraded" not in ask(server).headers


def test_a_damaged_checkpoint_degrades_its_source_alone_until_it_is_mended(
    project: Project, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    departures = project.definition.events[0]
    key = source_key(compile_layout(departures, project.definition.windows))
    with new_store("sqlite", request, tmp_path) as uri, closing(open_store(uri)) as store:
        project.fill(uri)
        [whole] = store.read([(CHECKPOINT, key)])
        assert whole is not None
        store.write(CHECKPOINT, [Write(key, b"damaged")])
        with serving(project.bundle, "--store", uri, *PATIENT) as server:
            for _ in range(3):
                assert ask(server).headers["x-mlkit-degraded"] == "departures"
            store.write(CHECKPOINT, [Write(key, whole.data)])
            await_whole(server)
            said = server.stop()[1]
    assert "what the store has of departures cannot be used: a checkpoint of features" in said


def test_a_time_is_taken_only_where_that_is_allowed(
    project: Project, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with new_store("sqlite", request, tmp_path) as uri:
        project.fill(uri)
        with serving(project.bundle, "--store", uri) as server:
            answer = httpx.post(f"{server.url}/invocations", json={**BODY, "params": {"as_of": 5}}, timeout=20)
            assert (answer.status_code, "--request-time" in answer.text) == (400, True)
            tensors = httpx.post(
                f"{server.url}/v2/models/eta/infer", json={**TENSORS, "parameters": {"as_of": 5}}, timeout=20
            )
            assert (tensors.status_code, "--request-time" in tensors.text) == (400, True)


def test_without_a_store_requests_bring_the_features(project: Project) -> None:
    given = row(mean_1h=1.0, last_carrier="AA", std_30d=2.0, longest=1.0, elevation=3.0, n_1h=1, flights=1)
    with serving(project.bundle) as server:
        answer = httpx.post(f"{server.url}/invocations", json={"inputs": given}, timeout=20)
        assert prediction(answer) == project.predict_row(given)
        assert ask(server).status_code == 400
        assert "no --store to look them up in" in server.stop()[1]
