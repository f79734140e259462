"""Asking a server again and again, until it is as it should be."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.bundles import NAMES
from tests.modes.online.server import RunningServer

ROW = dict.fromkeys(NAMES, 1.0)
BODY: dict[str, object] = {"inputs": ROW}
PATIENCE_S = 60


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill(server: RunningServer, worker: int) -> None:
    """Kill a worker, and see that it is gone."""
    os.kill(worker, signal.SIGKILL)
    until(lambda: worker not in server.workers)


def metrics_of(server: RunningServer) -> dict[tuple[str, ...], float]:
    """Name and label values, in the order of the labels' names → value."""
    text = httpx.get(f"{server.url}/metrics", timeout=PATIENCE_S).text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def link(target: Path, to: Path) -> None:
    """As a publisher switches it."""
    to.with_suffix(".new").symlink_to(target)
    to.with_suffix(".new").rename(to)


def answer(server: RunningServer) -> object:
    return httpx.post(f"{server.url}/invocations", json=BODY, timeout=PATIENCE_S).json()


def answers(server: RunningServer, times: int = 24) -> set[bytes]:
    """The different ones, over a connection of its own for each request, so that all workers get some."""
    url = f"{server.url}/invocations"
    return {httpx.post(url, json=BODY, timeout=PATIENCE_S).content for _ in range(times)}


def state_of(server: RunningServer, name: str) -> dict[str, str]:
    """What a model's metadata say of its bundle."""
    parameters: dict[str, str] = httpx.get(f"{server.url}/v2/models/{name}", timeout=PATIENCE_S).json()[
        "parameters"
    ]
    return parameters
