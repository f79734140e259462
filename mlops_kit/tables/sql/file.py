"""A database that is one file."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_kit.errors import StoreError, UsageError, listed
from mlops_kit.tables.address import Address


class DatabaseFile:
    """The file, which need not be there yet. `database` is what messages call its kind.

    Raises UsageError for an address that has no path, or options that nobody would heed.
    """

    def __init__(self, address: Address, database: str) -> None:
        if address.hosts or not address.path:
            scheme = address.scheme
            fix = f"write {scheme}:///FILE for one in this folder, {scheme}:////FOLDER/FILE for one anywhere"
            raise UsageError(f"{address}: which file?", fix=fix)
        if address.options:
            names = [name for name, _ in address.options]
            raise UsageError(f"{database} has no options {listed(names)}", fix="leave them out")
        self.path = Path(address.path)
        self._database = database

    def is_there(self) -> bool:
        """Whether somebody made the file. Raises StoreError if that cannot be known."""
        try:
            self.path.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self.failure(error.strerror or str(error)) from error
        return True

    @contextmanager
    def publisher(self) -> Iterator[None]:
        """Wait until nobody else publishes to the file, and keep others from it. What is unpublished meanwhile was
        left by a process that died, because the lock does not survive it.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = self.path.with_name(f"{self.path.name}-mlkit-lock").open("wb")
        except OSError as error:
            raise self.failure(error.strerror or str(error)) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def failure(self, why: str, fix: str = "") -> StoreError:
        """What to raise if the file cannot be used."""
        return StoreError(
            f"{self.path}: {self._database} failed", why, fix or "check that it can be read and written"
        )
