"""Runs that are killed at random moments: what readers see, and what a rerun makes of it."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import mlops_kit
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.tables.interface import Table
from tests.bundles import WEIGHTS, linear_graph, write_bundle
from tests.modes.batch.outputs import OUTPUTS, Output, Snapshot, snapshot
from tests.modes.batch.processes import finish, started
from tests.modes.batch.rows import make_rows
from tests.tables.backends import BACKENDS

FILES, KEPT = 8, 3

STARTING, SCORING, PUBLISHING, PUBLISHED = PHASES = range(4)
"""Of a run: its journal is there when it is scoring, has all units when it is publishing, and in the end readers see
its generation.
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What may be read: all rows as one bundle predicts them, or as another does."""

    ids: list[str]
    predictions: Mapping[str, "np.ndarray[Any, np.dtype[np.float32]]"]
    """By the digest of the bundle, in the order of the ids."""

    def whole(self, digest: str) -> Snapshot:
        return snapshot(self.ids, self.predictions[digest])

    def check(self, read: Snapshot, *digests: str) -> None:
        """Raise if it is not what one of these bundles predicts. The rows themselves would fill the screen."""
        if read not in [self.whole(digest) for digest in digests or self.predictions]:
            raise AssertionError(f"read {len(read[0])} rows, which no run has published so")

    def check_look_up(self, table: Table, index: int) -> None:
        found = table.get([self.ids[index]])
        assert found is not None
        assert np.float32(found.values["prediction"]) == self.predictions[found.digest][index]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By digest."""
    folder = tmp_path_factory.mktemp("bundles")
    paths = [write_bundle(folder / f"b{i}", linear_graph(WEIGHTS * (i + 1)), name=f"b{i}") for i in range(2)]
    return {mlops_kit.load(path).bundle.digest: path for path in paths}  # type: ignore[union-attr]


def write_source(folder: Path, rows_per_file: int) -> Path:
    """Files of rows whose ids are in order."""
    folder.mkdir()
    for file in range(FILES):
        ids = pl.Series([f"{file}-{i:04}" for i in range(rows_per_file)])
        make_rows(rows_per_file, file).with_columns(id=ids).write_parquet(folder / f"{file}.parquet")
    return folder


def answers_to(source: Path, bundles: Mapping[str, Path]) -> Answers:
    rows = pl.read_parquet(source / "*.parquet")
    predictions = {digest: mlops_kit.load(path).predict(rows)["prediction"] for digest, path in bundles.items()}
    return Answers(rows["id"].to_list(), predictions)


@contextmanager
def polling(output: Output, address: str, answers: Answers) -> Iterator[None]:
    """Read all rows and look up some, half of the time; raises in the end if any of it was wrong."""
    is_over = threading.Event()

    def poll() -> None:
        with output.reading(address, answers.ids) as read, closing(mlops_kit.lookup(address)) as table:
            pause_s = 0.0
            while not is_over.wait(pause_s):
                began = time.perf_counter()
                answers.check(read())
                for index in random.choices(range(len(answers.ids)), k=3):
                    answers.check_look_up(table, index)
                pause_s = time.perf_counter() - began

    with ThreadPoolExecutor(1) as pool:
        polled = pool.submit(poll)
        try:
            yield
        finally:
            is_over.set()
        polled.result()


@dataclass(frozen=True, slots=True)
class Trial:
    """Runs on one output, and how far they have come. `root` is where they keep their state."""

    table: Table
    root: Path
    log: Path

    def current(self) -> str:
        current = self.table.current()
        assert current is not None
        return current.name

    def phase(self, before: str, started_ns: int) -> int:
        """Of a run that was started then, to take the place of the generation `before`."""
        if self.current() != before:
            return PUBLISHED
        journal = max(self.root.glob(".mlkit/runs/*/journal.jsonl"), default=None)
        try:
            if journal is None or journal.stat().st_mtime_ns < started_ns:
                return STARTING
            return PUBLISHING if journal.read_bytes().count(b"\n") == 1 + FILES else SCORING
        except FileNotFoundError:
            # Old journals are removed, in the beginning and in the end.
            return self.phase(before, started_ns)

    def wait_for(self, phase: int, before: str, started_ns: int, run: ForkServerProcess) -> float:
        """Return when the run has come to a phase, or to its end, and what time it was."""
        while run.is_alive() and self.phase(before, started_ns) < phase:
            time.sleep(0.001)
        return time.perf_counter()

    def measure_phases(self, job: BatchJob) -> list[float]:
        """Run to the end, and return how many seconds each phase took."""
        before, started_ns = self.current(), time.time_ns()
        with started(job, self.log) as run:
            moments = [self.wait_for(phase, before, started_ns, run) for phase in PHASES]
            run.join()
        return np.diff([*moments, time.perf_counter()]).tolist()

    def kill(self, job: BatchJob, phase: int, delay_s: float, before: str) -> int | None:
        """Kill a run that has been in a phase for a while, and return in which it was; None if it was faster."""
        started_ns = time.time_ns()
        with started(job, self.log) as run:
            self.wait_for(phase, before, started_ns, run)
            time.sleep(delay_s)
            run.kill()
            run.join()
        return self.phase(before, started_ns) if run.exitcode == -signal.SIGKILL else None


@pytest.mark.parametrize("scheme", OUTPUTS)
def test_killed_runs_lose_nothing_and_readers_see_whole_generations(
    scheme: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    bundles: dict[str, Path],
) -> None:
    output, digests, work, log = OUTPUTS[scheme], list(bundles), tmp_path / "work", tmp_path / "log"
    source = write_source(tmp_path / "in", output.rows_per_file)
    answers = answers_to(source, bundles)
    choice = random.Random(seed := int.from_bytes(os.urandom(4)))
    print(f"seed {seed}")
    with BACKENDS[scheme].place(request, tmp_path) as place, closing(mlops_kit.lookup(place)) as table:
        address = place + output.options
        job = BatchJob("", str(source), address, key=("id",), keep_generations=KEPT, work=work)
        jobs = [replace(job, bundle=bundle) for bundle in bundles.values()]
        finish(jobs[0], log)
        trial = Trial(table, next(work.glob("*"), Path(address)), log)
        lasting_s = trial.measure_phases(jobs[1])
        hits, published = Counter[int | None](), [trial.current()]
        with output.reading(address, answers.ids) as read, polling(output, address, answers):
            for number in range(output.rounds):
                job = jobs[number % 2]
                for _ in range(choice.choice((1, 2))):
                    # What was hit least; rather early in it, because the next run may be faster.
                    phase = min(PHASES, key=lambda phase: (hits[phase], choice.random()))
                    delay_s = lasting_s[phase] * choice.random() ** 2
                    hits[trial.kill(job, phase, delay_s, published[-1])] += 1
                finish(job, log)
                answers.check(read(), digests[number % 2])
                published.append(trial.current())
        finish(jobs[output.rounds % 2], log)
        published.append(trial.current())
        assert output.leftovers(address, published[-KEPT:]) == []
    print(hits, lasting_s)
    assert len(set(published)) == output.rounds + 2
    assert all(hits[phase] for phase in PHASES), hits
    assert [path for path in trial.root.rglob("*") if path.name.endswith(".tmp")] == []
    assert {path.name for path in trial.root.glob(".mlkit/runs/*")} <= set(published[-KEPT:])
