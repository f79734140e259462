"""Workers that die, are replaced and stop, under load."""

import json
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.bundles import slow_graph, write_bundle
from tests.modes.online.asking import BODY, kill, metrics_of, state_of, until
from tests.modes.online.load import constant_load
from tests.modes.online.server import serving


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny")


def test_a_killed_worker_loses_only_its_own_requests_and_is_replaced(bundle: Path) -> None:
    with serving(bundle, "--workers", 2) as server:
        url = f"{server.url}/invocations"
        with constant_load(url, BODY, clients=4) as outcomes:
            first, second = server.workers
            os.kill(first, signal.SIGKILL)
            until(lambda: len(set(server.workers) - {first, second}) == 1)
            replaced = outcomes.counts["200"]
            until(lambda: outcomes.counts["200"] > replaced + 100)
        assert outcomes.failed <= 4, outcomes.counts
        assert len(outcomes.answers) == 1
        assert metrics_of(server)[("mlkit_worker_restarts_total",)] == 1
        code, said = server.stop()
        assert code == 0
        assert "died (-9) and is replaced" in said


def test_no_worker_outlives_a_killed_supervisor(bundle: Path) -> None:
    with serving(bundle, "--workers", 2) as server:
        workers = server.workers
        server.process.kill()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_metrics_speak_for_all_workers(bundle: Path) -> None:
    with serving(bundle, "--workers", 2) as server:
        for _ in range(40):  # a connection of its own for each, so that both workers get some
            httpx.post(f"{server.url}/invocations", json=BODY)
        httpx.post(f"{server.url}/v2/models/tiny/infer", json={})
        metrics = metrics_of(server)
        assert metrics[("mlkit_requests_total", "mlflow", "tiny", "200")] == 40
        assert metrics[("mlkit_requests_total", "oip", "tiny", "400")] == 1
        for stage in ("queue", "assemble", "model", "total"):
            assert metrics[("mlkit_request_seconds_count", "tiny", stage)] == 40
            assert metrics[("mlkit_request_seconds_sum", "tiny", stage)] > 0
        assert metrics[("mlkit_batch_rows_count", "tiny")] == metrics[("mlkit_rows_total", "tiny")] == 40
        digest = json.loads(httpx.get(f"{server.url}/v2/models/tiny").content)["parameters"]["digest"]
        assert metrics[("mlkit_model_info", digest, "tiny")] == 1
        assert metrics[("mlkit_process_resident_memory_bytes", "worker-1")] > 1e7


def test_requests_that_no_model_has_are_counted_without_a_name(bundle: Path) -> None:
    with serving(bundle) as server:
        httpx.get(f"{server.url}/invocations")
        httpx.post(f"{server.url}/v2/models/tinny/infer", json={})
        httpx.get(f"{server.url}/nowhere")
        counted = metrics_of(server)
        outcomes = (("mlflow", "405"), ("oip", "404"), ("mlflow", "404"))
        assert [counted["mlkit_requests_total", door, "", status] for door, status in outcomes] == [1, 1, 1]


def test_a_worker_that_is_gone_is_not_ready_and_the_others_are(tmp_path: Path, bundle: Path) -> None:
    def ready() -> int:
        return sum(metrics_of(server)[("mlkit_worker_ready", f"worker-{number}")] for number in range(2))

    with serving(bundle, "--workers", 2) as server:
        assert ready() == 2
        bundle.rename(tmp_path / "away")
        write_bundle(bundle, slow_graph())  # the one in its place takes minutes to load it
        kill(server, server.workers[0])
        until(lambda: ready() == 1)
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200


@pytest.mark.parametrize("form", ["text", "json"])
def test_one_line_says_what_is_served_and_where(bundle: Path, form: str) -> None:
    with serving(f"eta={bundle}", "--workers", 2, "--log-format", form) as server:
        digest = state_of(server, "eta")["digest"]
        (line,) = [line for line in server.stop()[1].splitlines() if "ready" in line]
        grpc = f"grpc://{server.grpc_address}"
        assert f"ready at {server.url} and {grpc}: eta ({digest}); workers: 2" in line
        if form == "json":
            expected = {"http": server.url, "grpc": grpc, "models": {"eta": digest}, "workers": 2}
            assert json.loads(line).items() >= expected.items()
