"""Triton's statistics of a model, as its own client reads them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from mlops_kit.modes.online.metrics.counts import Duration, ModelCounts
from mlops_kit.modes.online.protocols.oip_statistics import render_statistics
from tests.modes.online.mixed_bundle import GOLDEN_ROW, write_mixed_bundle
from tests.modes.online.server import RunningServer, serving


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixed_bundle(tmp_path_factory.mktemp("bundles") / "mixed")


@pytest.fixture
def server(bundle: Path) -> Iterator[RunningServer]:
    with serving(f"one={bundle}", f"two={bundle}", "--timeout-ms", "20000") as server:
        yield server


def statistics(server: RunningServer, name: str = "one", version: str = "") -> list[dict[str, Any]]:
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        found: list[dict[str, Any]] = client.get_inference_statistics(name, version)["model_stats"]
        return found


def ask(server: RunningServer, rows: int) -> int:
    document = {"dataframe_records": [GOLDEN_ROW] * rows}
    return httpx.post(f"{server.url}/models/one/invocations", json=document, timeout=30).status_code


def test_the_form_is_that_of_the_extension() -> None:
    counts = ModelCounts(
        last_request_ms=5,
        rows=9,
        runs=2,
        success=Duration(3, 30),
        failure=Duration(1, 10),
        queue=Duration(3, 3),
        assemble=Duration(3, 6),
        model=Duration(3, 9),
        batches={8: Duration(1, 5), 1: Duration(1, 4)},
    )
    nothing = {"count": 0, "ns": 0}
    assert render_statistics("m", "v", counts) == {
        "name": "m",
        "version": "v",
        "last_inference": 5,
        "inference_count": 9,
        "execution_count": 2,
        "inference_stats": {
            "success": {"count": 3, "ns": 30},
            "fail": {"count": 1, "ns": 10},
            "queue": {"count": 3, "ns": 3},
            "compute_input": {"count": 3, "ns": 6},
            "compute_infer": {"count": 3, "ns": 9},
            "compute_output": nothing,
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": nothing,
                "compute_infer": {"count": 1, "ns": ns},
                "compute_output": nothing,
            }
            for rows, ns in ((1, 4), (8, 5))
        ],
    }


def test_requests_and_rows_are_counted(server: RunningServer) -> None:
    assert [ask(server, rows) for rows in (1, 1, 5)] == [200] * 3
    (found,) = statistics(server)
    assert (found["inference_count"], found["execution_count"]) == (7, 3)
    assert found["last_inference"] > 1_700_000_000_000
    stats = found["inference_stats"]
    assert (stats["success"]["count"], stats["fail"]["count"]) == (3, 0)
    assert stats["success"]["ns"] > stats["compute_infer"]["ns"] > 0
    assert {batch["batch_size"]: batch["compute_infer"]["count"] for batch in found["batch_stats"]} == {1: 2, 5: 1}


def test_large_runs_are_told_by_their_mean(server: RunningServer) -> None:
    assert [ask(server, rows) for rows in (500, 300, 600)] == [200] * 3
    (found,) = statistics(server)
    assert {batch["batch_size"]: batch["compute_infer"]["count"] for batch in found["batch_stats"]} == {
        400: 2,
        600: 1,
    }


def test_requests_that_share_a_run_are_counted_each(server: RunningServer) -> None:
    barrier = threading.Barrier(16)

    def ask_at_once(_index: int) -> int:
        barrier.wait(timeout=60)
        return ask(server, 1)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask_at_once, range(16))) == [200] * 16
    (found,) = statistics(server)
    assert found["inference_count"] == found["inference_stats"]["success"]["count"] == 16
    runs = sum(batch["batch_size"] * batch["compute_infer"]["count"] for batch in found["batch_stats"])
    assert runs == 16


def test_a_request_that_comes_too_late_is_a_failure(bundle: Path) -> None:
    with serving(f"one={bundle}", "--timeout-ms", "50", "--max-delay-ms", "300") as server:
        assert ask(server, 1) == 504
        (found,) = statistics(server)
    assert (found["inference_stats"]["fail"]["count"], found["inference_count"]) == (1, 0)


def test_models_and_versions_are_told_apart(server: RunningServer) -> None:
    ask(server, 1)
    assert {found["name"]: found["inference_count"] for found in statistics(server, "")} == {"one": 1, "two": 0}
    (one,) = statistics(server)
    assert statistics(server, "one", one["version"])[0]["inference_count"] == 1
    with pytest.raises(InferenceServerException, match="version 7"):
        statistics(server, "one", "7")
