"""Score units on Spark, and take over each as soon as an executor has made it."""

import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from mlops_kit.bundle.bundle import Bundle
from mlops_kit.modes.batch import local
from mlops_kit.modes.batch.job import Watcher
from mlops_kit.modes.batch.journal import UnitRecord
from mlops_kit.modes.batch.sources.interface import Unit
from mlops_kit.modes.batch.spark.attempt import Attempt, adopt, open_attempt, store_errors, unseen
from mlops_kit.modes.batch.spark.failure import explain
from mlops_kit.modes.batch.spark.session import open_session
from mlops_kit.modes.batch.spark.task import Assignment, UnitTask
from mlops_kit.modes.batch.work import Work

LOG = "spark.log"
POLL_S = 0.1
MOST_TASKS = 1000
"""With more units than that a task has several: a task costs Spark some hundredths of a second."""


def score_units(work: Work, watcher: Watcher) -> Generator[tuple[Unit, UnitRecord]]:
    """See `Engine`. Raises what the executors raise, and StoreError if Spark fails or does not see the files."""
    if not work.units:
        return
    bundle = cast("Bundle", work.predictor.bundle)
    job, log = work.job, work.run.directory / LOG
    missing = {work.plan.identities[unit.part]: unit for unit in work.units}
    with open_session(job.master, log) as session, open_attempt(work.run, bundle) as attempt:
        task = UnitTask(
            Assignment(
                attempt, Path.cwd(), work.source, [(unit, identity) for identity, unit in missing.items()],
                work.scorer.keep, job.where, job.stops_at_bad_row, local.SLICE_ROWS,
            )
        )  # fmt: skip
        with _running(session, task, len(missing), log) as running:
            is_over = False
            while not is_over:
                is_over = running.wait(POLL_S)
                if watcher.should_stop():
                    attempt.stop.touch()
                for identity in _made(attempt, missing):
                    record = adopt(attempt.made / identity, work.run)
                    watcher.advance(record.records)
                    yield missing.pop(identity), record
            if missing and not watcher.should_stop():
                error = running.error
                raise (explain(error, log) if error else unseen(attempt.made)) from error


class _Job:
    """A Spark job in a thread of its own, because Spark tells nothing of it until it is over."""

    def __init__(self, frame: DataFrame) -> None:
        self._frame = frame
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="mlkit-spark", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Whether the job is over by then."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._frame.collect()
        except Exception as error:  # noqa: BLE001 - the thread that waits raises it
            self.error = error


@contextmanager
def _running(session: SparkSession, task: UnitTask, units: int, log: Path) -> Iterator[_Job]:
    """Start the job; at the end of the block it is over, be it by force."""
    try:
        numbers = session.range(0, units, 1, min(units, MOST_TASKS))
        job = _Job(numbers.mapInArrow(task, "nothing int"))
    except PySparkException as error:
        raise explain(error, log) from error
    try:
        yield job
    finally:
        while not job.wait(POLL_S):
            session.interruptAll()


def _made(attempt: Attempt, missing: Mapping[str, Unit]) -> list[str]:
    with store_errors(attempt.made):
        return [path.name for path in attempt.made.iterdir() if path.name in missing]
