"""Who scores the units of a run: this process, or Spark's executors."""

from collections.abc import Callable, Generator
from importlib import import_module

from mlops_kit.errors import MissingExtraError, UsageError, listed
from mlops_kit.modes.batch import local
from mlops_kit.modes.batch.job import BatchJob, Watcher
from mlops_kit.modes.batch.journal import UnitRecord
from mlops_kit.modes.batch.sources.interface import Unit
from mlops_kit.modes.batch.work import Work

LOCAL, SPARK = "local", "spark"

Engine = Callable[[Work, Watcher], Generator[tuple[Unit, UnitRecord]]]
"""Scores units, and yields each as soon as the run has its part; tells the watcher of every row.

It begins no unit once the watcher says that the run should stop; those that are begun come to their end.
"""


def check_engine(job: BatchJob) -> None:
    """Raise UsageError if there is no such engine, or if it does not go with the rest."""
    if job.engine not in (LOCAL, SPARK):
        raise UsageError(f"--engine {job.engine}: no such engine", fix=f"choose {listed((LOCAL, SPARK))}")
    if job.engine == SPARK and job.threads:
        fix = f"give the number of slots to Spark, as in --master 'local[{job.threads}]'"
        raise UsageError("--threads is not for Spark", "each of its task slots scores with one thread", fix)


def find_engine(name: str) -> Engine:
    """The engine of this name. Raises MissingExtraError."""
    if name == LOCAL:
        return local.score_units
    try:
        engine: Engine = import_module("mlops_kit.modes.batch.spark.engine").score_units
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "pyspark", "spark", f"--engine {SPARK}") from error
    return engine
