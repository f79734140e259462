"""Runs that are killed at random moments: what readers see, and what a rerun makes of it."""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

import mlops_kit
from tests.bundles import WEIGHTS, linear_graph, write_bundle
from tests.cli.mlkit import COMMAND
from tests.modes.batch.rows import write_rows

ROUNDS = 30
FILES, ROWS = 8, 2000

Answers = dict[str, bytes]
"""Digest → the predictions of all rows, in order."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return [write_bundle(folder / f"b{i}", linear_graph(WEIGHTS * (i + 1)), name=f"b{i}") for i in range(2)]


def read_snapshot(out: Path) -> tuple[list[str], bytes] | None:
    """What a reader of the folder gets: it follows the link once, and reads what is behind it."""
    try:
        current = (out / "current").resolve(strict=True)
    except FileNotFoundError:
        return None
    frame = pl.concat(pl.read_parquet(part) for part in sorted(current.glob("*.parquet")))
    return frame["id"].to_list(), frame["prediction"].to_numpy().tobytes()


@contextmanager
def polling(out: Path, seen: list[tuple[list[str], bytes] | None]) -> Iterator[None]:
    """Keep every different snapshot that a reader gets meanwhile."""
    is_over = threading.Event()

    def poll() -> None:
        while not is_over.wait(0.005):
            snapshot = read_snapshot(out)
            if not seen or snapshot != seen[-1]:
                seen.append(snapshot)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def start(bundle: Path, source: Path, out: Path) -> "subprocess.Popen[bytes]":
    words = ["batch-predict", bundle, source, "--out", out, "--keep", "id", "--keep-generations", "3"]
    return subprocess.Popen([*COMMAND, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_killed_runs_lose_nothing_and_readers_see_whole_generations(tmp_path: Path, bundles: list[Path]) -> None:
    frames = [write_rows(tmp_path / "in" / f"{i}.parquet", ROWS, seed=i) for i in range(FILES)]
    rows = pl.concat(frames)
    expected = [mlops_kit.load(bundle).predict(rows)["prediction"].tobytes() for bundle in bundles]
    ids = rows["id"].to_list()
    out = tmp_path / "out"
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    choice = random.Random(seed)
    started = time.perf_counter()
    assert start(bundles[1], tmp_path / "in", out).wait() == 0
    undisturbed_s = time.perf_counter() - started
    seen: list[tuple[list[str], bytes] | None] = [read_snapshot(out)]
    killed = 0
    with polling(out, seen):
        for number in range(ROUNDS):
            run = start(bundles[number % 2], tmp_path / "in", out)
            time.sleep(undisturbed_s * choice.uniform(0.4, 1.0))
            run.send_signal(signal.SIGKILL)
            killed += run.wait() == -signal.SIGKILL
            again = start(bundles[number % 2], tmp_path / "in", out)
            _, error = again.communicate()
            assert again.returncode == 0, error.decode()
            assert read_snapshot(out) == (ids, expected[number % 2])
    assert killed >= ROUNDS / 3
    assert None not in seen
    assert all(snapshot is not None and snapshot[0] == ids and snapshot[1] in expected for snapshot in seen)
    leftovers = [path for path in out.rglob(".*") if path.name.endswith(".tmp") or ".current." in path.name]
    assert leftovers == []
