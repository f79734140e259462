"""Batch runs in processes of their own, which can be killed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.run import run_batch
from tests.modes.batch.rows import Watching

IMPORTED = ("adbc_driver_postgresql.dbapi", "mlops_kit.tables.sqlite", "redis")
"""By every run, or by some. No run can import them as fast as it is forked from a process that has them."""


@contextmanager
def started(job: BatchJob, log: Path) -> Iterator[ForkServerProcess]:
    """The run, which writes its error to the end of `log`; killed in the end if it still goes on."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["__main__", *IMPORTED, __name__])
    process = context.Process(target=_carry_out, args=(job, log))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def finish(job: BatchJob, log: Path) -> None:
    """Run to the end."""
    with started(job, log) as run:
        run.join()
    assert run.exitcode == 0, log.read_text()


def _carry_out(job: BatchJob, log: Path) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    run_batch(job, Watching())
