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
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlops_kit.errors import UsageError
from mlops_kit.modes.batch.disk import FULL, disk_failure
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.journal import Completion, JournalContent, RunHeader, open_journal, read_journal
from mlops_kit.modes.batch.sources.extract.resolve import STDIN
from mlops_kit.tables.address import FOLDER, STDOUT, Address
from mlops_kit.tables.folder import GENERATIONS, PRIVATE, linked_generation
from mlops_kit.tables.generation import is_generation_name

JOURNAL, ERRORS = "journal.jsonl", "errors"
LOCKS = ("lock", "publishing")
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

    def complete(self) -> None:
        """Note that it was published."""
        units = self.journal.units
        completion = Completion(sum(r.rows for r in units.values()), sum(r.bad for r in units.values()))
        with open_journal(self.journal_path, JournalContent(self.header, units, completion)):
            pass

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

    def unfinished(self, digest: str, key: tuple[str, ...], current: str | None) -> Run | None:
        """The newest run, if it is for this bundle and key and can be gone on with: it did not come to its end,
        and is not what readers see as `current`.
        """
        names = sorted((path.name for path in self._runs.iterdir()), reverse=True) if self._runs.is_dir() else []
        newest = next((run for name in names if (run := self.run(name))), None)
        if newest is None or newest.journal.completion is not None:
            return None
        if newest.header.name == current:
            # It was stopped after the switch: what readers see must not be touched any more.
            newest.complete()
            return None
        return newest if (newest.header.digest, newest.header.key) == (digest, key) else None

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
        if read := linked_generation(self.root):
            kept.add(read)
        for folder in (self._runs, self.root / GENERATIONS, self.root / ERRORS):
            for path in folder.iterdir() if folder.is_dir() else ():
                if is_generation_name(path.stem) and path.stem not in kept:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def errors(self, name: str) -> Path:
        """The file of a run's bad rows, unless people choose another."""
        return self.root / ERRORS / f"{name}.parquet"

    def discard_everything(self) -> None:
        """Remove all runs, and what they have read and made, but for their bad rows."""
        for folder in (self._runs, self.extract, self.root / GENERATIONS):
            shutil.rmtree(folder, ignore_errors=True)

    def is_empty(self) -> bool:
        """Whether no run has left anything."""
        return not any(path.is_file() and path.name not in LOCKS for path in self.root.rglob("*"))

    def _run_of(self, content: JournalContent) -> Run:
        name = content.header.name
        return Run(self._runs / name, self.root / GENERATIONS / name, content)


def workspace_root(job: BatchJob, address: Address) -> Path:
    """The output itself if it is a folder; else one below `job.work`, of which every output has its own."""
    if address.scheme == FOLDER:
        return Path(address.path)
    # Pipes may run side by side, and each of stdin's has rows of its own.
    pipe = (job.bundle, job.input, job.sql, job.where, job.keep, os.getpid() if job.input == STDIN else 0)
    identity = repr(pipe) if address.scheme == STDOUT else str(address)
    name = address.table or "stdout"
    return job.work / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


@contextmanager
def open_workspace(root: Path, option: str = "--out") -> Iterator[Workspace]:
    """Hold the folder, which people choose by an option. Raises UsageError if another run holds it, or if it is
    something else's folder, and later StoreError if the disk is full.
    """
    _refuse_foreign(root)
    private, is_new = root / PRIVATE, not root.exists()
    try:
        private.mkdir(parents=True, exist_ok=True)
        lock = os.open(private / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"cannot write to {root}", why, f"choose another place with {option}") from error
    try:
        _hold(lock, private / "lock", root)
        workspace = Workspace(root)
        try:
            yield workspace
        finally:
            if workspace.is_empty():
                shutil.rmtree(private)
                if is_new:
                    shutil.rmtree(root)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise disk_failure(root, error) from error
    finally:
        os.close(lock)


def _hold(lock: int, path: Path, root: Path) -> None:
    """The kernel lets go of the lock when the process ends, however it ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have removed it.
        is_held = os.path.samestat(os.fstat(lock), path.stat())
    except (BlockingIOError, FileNotFoundError):
        is_held = False
    if not is_held:
        holder = os.pread(lock, 20, 0).decode() or "unknown"
        fix = "wait until it is done, or stop it"
        raise UsageError(f"{root}: another run is writing there (process {holder})", fix=fix)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _refuse_foreign(root: Path) -> None:
    """A folder that others filled, or a file, is not a place to publish to."""
    if root.is_dir() and not (root / PRIVATE).is_dir() and not linked_generation(root) and any(root.iterdir()):
        why = "its files would lie beside the predictions, and readers would take them for some"
        raise UsageError(f"{root} exists, and mlkit did not make it", why, "choose another --out, or empty it")
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file", "predictions are published in a folder", "choose another --out")
