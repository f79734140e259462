"""What runs in Spark's executors. Spark itself is not imported here."""

import contextlib
import os
import pickle
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec
import pyarrow as pa

from mlops_kit.errors import MlkitError
from mlops_kit.loading import load
from mlops_kit.modes.batch.scoring import Scorer
from mlops_kit.modes.batch.sources.interface import Source, Unit
from mlops_kit.modes.batch.sources.where import RowFilter
from mlops_kit.modes.batch.spark.attempt import BAD, PART, RECORD, Attempt, store_errors, unseen
from mlops_kit.modes.batch.spark.failure import carry
from mlops_kit.modes.batch.unit_writer import UnitWriter


@dataclass(frozen=True, slots=True)
class Assignment:
    """Everything that an executor must know. Paths of the input are relative to `directory`."""

    attempt: Attempt
    directory: Path
    source: Source
    units: Sequence[tuple[Unit, str]]
    """With their identities."""
    keep: tuple[str, ...]
    where: str | None
    stops_at_bad_row: bool
    slice_rows: int


class UnitTask:
    """The function for `mapInArrow`: rows of one number each, which name units, come in; nothing comes out."""

    def __init__(self, assignment: Assignment) -> None:
        # Spark sends it with every task; a process unpickles it once.
        self._pickled = pickle.dumps(assignment)

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Score the units. An MlkitError becomes an exception that the driver can turn into it again."""
        try:
            assignment, scorer = prepare(self._pickled)
            for batch in batches:
                for number in batch.column(0).to_pylist():
                    if not assignment.attempt.stop.exists():
                        _make_unit(assignment, scorer, *assignment.units[number])
        except MlkitError as error:
            raise carry(error) from None
        yield from ()


@lru_cache(maxsize=1)
def prepare(pickled: bytes) -> tuple[Assignment, Scorer]:
    """The assignment, and the scorer with its session that all tasks of this process use."""
    assignment: Assignment = pickle.loads(pickled)  # noqa: S301 - Spark itself has just unpickled what it comes from
    if not assignment.attempt.bundle.is_dir():
        raise unseen(assignment.attempt.bundle)
    offered = assignment.source.schema
    where = RowFilter(assignment.where, offered) if assignment.where else None
    return assignment, Scorer(load(assignment.attempt.bundle), assignment.keep, where, offered)


def _make_unit(assignment: Assignment, scorer: Scorer, unit: Unit, identity: str) -> None:
    """Score a unit in a folder of its own, which gets its final name once it is whole."""
    # Spark may try a unit twice at a time.
    folder = assignment.attempt.making / secrets.token_hex(8)
    with store_errors(folder):
        folder.mkdir()
    try:
        writer = UnitWriter(
            unit, identity, scorer.schema, folder / PART, folder / BAD,
            stops_at_bad_row=assignment.stops_at_bad_row, first_row=unit.first_row,
        )  # fmt: skip
        try:
            with _working_in(assignment.directory):
                for chunk in assignment.source.chunks(unit, scorer.columns, assignment.slice_rows):
                    writer.write(scorer.score(chunk))
            record = writer.finish()
        except BaseException:
            writer.abandon()
            raise
        with store_errors(folder):
            (folder / RECORD).write_bytes(msgspec.json.encode(record))
            _put(folder, assignment.attempt.made / identity)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _working_in(directory: Path) -> contextlib.AbstractContextManager[None]:
    return contextlib.chdir(directory) if os.access(directory, os.X_OK) else contextlib.nullcontext()


def _put(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError:
        # Another try of the same unit was faster, and has made the same.
        if not target.is_dir():
            raise
