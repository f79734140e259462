"""The folder in which runs keep what they have done: generations, journals, and a lock.

ROOT/generations/NAME/…               the parts, at their final names as soon as they are whole
ROOT/.mlkit/runs/NAME/journal.jsonl   what is finished
ROOT/.mlkit/runs/NAME/bad/…           the bad rows of each unit
ROOT/.mlkit/runs/NAME/spark/…         where Spark's executors work
ROOT/.mlkit/extract/…                 a copy of what was read from a database or from stdin
ROOT/errors/NAME.parquet              all of them, once the run is complete
ROOT/.mlkit/lock                      held while a run works here
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlops_kit.errors import UsageError
from mlops_kit.modes.batch.disk import FULL, disk_failure
from mlops_kit.modes.batch.journal import JournalContent, RunHeader, read_journal
from mlops_kit.tables.folder import GENERATIONS, PRIVATE
from mlops_kit.tables.generation import is_generation_name

JOURNAL, ERRORS = "journal.jsonl", "errors"
ATTEMPTS = "spark"


@dataclass(frozen=True, slots=True)
class Run:
    """A run and what it has finished so far."""

    directory: Path
    parts: Path
    journal: JournalContent

    @property
    def header(self) -> RunHeader:
        """What the run was started for."""
        return self.journal.header

    @property
    def journal_path(self) -> Path:
        """Its journal."""
        return self.directory / JOURNAL

    def bad_rows(self, part: str) -> Path:
        """Where a unit's bad rows lie until they are put together."""
        return self.directory / "bad" / part


class Workspace:
    """A folder of runs, held by this process alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._runs = root / PRIVATE / "runs"

    def run(self, name: str) -> Run | None:
        """The run of this name."""
        path = self._runs / name / JOURNAL
        content = read_journal(path) if path.exists() else None
        return self._run_of(content) if content else None

    def unfinished(self) -> Run | None:
        """The newest run, if it did not come to its end."""
        names = sorted((path.name for path in self._runs.iterdir()), reverse=True) if self._runs.is_dir() else []
        newest = next((run for name in names if (run := self.run(name))), None)
        return newest if newest and newest.journal.completion is None else None

    def start(self, header: RunHeader) -> Run:
        """A new run with nothing finished."""
        return self._run_of(JournalContent(header, {}, None))

    @property
    def extract(self) -> Path:
        """Where a run keeps a copy of what it read from a database or from stdin."""
        return self.root / PRIVATE / "extract"

    def discard(self, run: Run) -> None:
        """Remove what the run has made, but for its bad rows."""
        for folder in (run.directory, run.parts):
            shutil.rmtree(folder, ignore_errors=True)

    def discard_all_but(self, names: set[str]) -> None:
        """Remove other runs, and what they made, but for generations that can still be rolled back to."""
        kept = names | {path.stem for path in (self.root / PRIVATE / "manifests").glob("*.json")}
        for folder in (self._runs, self.root / GENERATIONS, self.root / ERRORS):
            for path in folder.iterdir() if folder.is_dir() else ():
                if is_generation_name(path.stem) and path.stem not in kept:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def errors(self, name: str) -> Path:
        """The file of a run's bad rows, unless people choose another."""
        return self.root / ERRORS / f"{name}.parquet"

    def _run_of(self, content: JournalContent) -> Run:
        name = content.header.name
        return Run(self._runs / name, self.root / GENERATIONS / name, content)


@contextmanager
def open_workspace(root: Path) -> Iterator[Workspace]:
    """Hold the folder. Raises UsageError if another run holds it, or if it is something else's folder, and later
    StoreError if the disk is full.
    """
    _refuse_foreign(root)
    private = root / PRIVATE
    try:
        private.mkdir(parents=True, exist_ok=True)
        lock = os.open(private / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UsageError(
            f"cannot write to {root}", error.strerror or str(error), "choose another --out"
        ) from error
    try:
        _hold(lock, root)
        yield Workspace(root)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise disk_failure(root, error) from error
    finally:
        os.close(lock)


def _hold(lock: int, root: Path) -> None:
    """The kernel lets go of the lock when the process ends, however it ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode() or "unknown"
        fix = "wait until it is done, or stop it"
        raise UsageError(f"{root}: another run is writing there (process {holder})", fix=fix) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _refuse_foreign(root: Path) -> None:
    """A folder that others filled, or a file, is not a place to publish to."""
    if root.is_dir() and not (root / PRIVATE).is_dir() and any(root.iterdir()):
        why = "its files would lie beside the predictions, and readers would take them for some"
        raise UsageError(f"{root} exists, and mlkit did not make it", why, "choose another --out, or empty it")
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file", "predictions are published in a folder", "choose another --out")
