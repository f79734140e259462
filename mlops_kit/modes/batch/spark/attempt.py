"""The folder in which one attempt to score on Spark lays down what its executors need, and what they have made.

RUN/spark/ATTEMPT/bundle/             a copy of the bundle
RUN/spark/ATTEMPT/making/NAME/        a unit that is being scored
RUN/spark/ATTEMPT/made/IDENTITY/      one that is whole: part.parquet, bad.parquet, record.json
RUN/spark/ATTEMPT/stop                tells the executors to begin no other unit

Executors write nowhere else, and the driver moves what is whole to where it belongs. So executors that outlive
their driver, or that Spark has given up, disturb nobody: the next attempt has another folder.
"""

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mlops_kit.bundle.bundle import Bundle
from mlops_kit.bundle.files import sync
from mlops_kit.bundle.manifest import FILE_NAME as MANIFEST
from mlops_kit.errors import StoreError
from mlops_kit.modes.batch.disk import disk_failure
from mlops_kit.modes.batch.journal import UnitRecord
from mlops_kit.modes.batch.workspace import ATTEMPTS, Run

PART, BAD, RECORD = "part.parquet", "bad.parquet", "record.json"


@dataclass(frozen=True, slots=True)
class Attempt:
    """Where things lie; the same for the driver and its executors."""

    root: Path

    @property
    def bundle(self) -> Path:
        """The bundle's copy."""
        return self.root / "bundle"

    @property
    def making(self) -> Path:
        """Where executors work."""
        return self.root / "making"

    @property
    def made(self) -> Path:
        """Where whole units lie, by identity."""
        return self.root / "made"

    @property
    def stop(self) -> Path:
        """Exists once no further unit is to be begun."""
        return self.root / "stop"


@contextlib.contextmanager
def open_attempt(run: Run, bundle: Bundle) -> Iterator[Attempt]:
    """A fresh folder; in the end all attempts are gone. Raises StoreError if it cannot be written."""
    # Executors have another working directory.
    attempt = Attempt((run.directory / ATTEMPTS / secrets.token_hex(4)).absolute())
    try:
        with store_errors(attempt.root):
            for folder in (attempt.bundle, attempt.making, attempt.made):
                folder.mkdir(parents=True)
            for name in (MANIFEST, *(entry.name for entry in bundle.manifest.files)):
                shutil.copyfile(bundle.directory / name, attempt.bundle / name)
        yield attempt
    finally:
        shutil.rmtree(attempt.root.parent, ignore_errors=True)


def adopt(folder: Path, run: Run) -> UnitRecord:
    """Give the run a unit that is whole. Raises StoreError if the disk fails."""
    with store_errors(folder):
        record = msgspec.json.decode((folder / RECORD).read_bytes(), type=UnitRecord)
        if record.bad:
            _move(folder / BAD, run.bad_rows(record.part))
        _move(folder / PART, run.parts / record.part)
        shutil.rmtree(folder)
    return record


def unseen(path: Path) -> StoreError:
    """The error for a file that one side has written and the other does not see."""
    return StoreError(
        f"{path} is not there",
        "Spark's driver and its executors do not see the same files",
        "give --out (or --work) and INPUT on a file system that all machines mount at the same place",
    )


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn the disk's errors into StoreError."""
    try:
        yield
    except OSError as error:
        raise disk_failure(path, error) from error


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    sync(target.parent)
