"""The files of a bundle on disk: checked before anything reads them, written all or nothing."""

import errno
import hashlib
import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_kit.bundle.manifest import FileEntry
from mlops_kit.errors import BundleError, UsageError

CHUNK = 2**20


def read_limited(directory: Path, name: str, limit: int) -> bytes:
    """Read a whole file of a bundle, refusing one larger than `limit` bytes before reading it."""
    with _open_regular(directory, name) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise BundleError(name, f"it has {size} bytes, more than the {limit} that a {name} may have")
        return file.read()


def check_file(directory: Path, entry: FileEntry) -> None:
    """Refuse a file that is not regular, is linked elsewhere, or differs in size or content from `entry`."""
    with _open_regular(directory, entry.name) as file:
        size = os.fstat(file.fileno()).st_size
        if size != entry.size:
            raise BundleError(entry.name, f"it has {size} bytes and the manifest says {entry.size}")
        if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
            raise BundleError(entry.name, "its content differs from the checksum in the manifest")


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_file(path: Path) -> FileEntry:
    """The manifest's entry for a file just written."""
    return FileEntry(path.name, path.stat().st_size, hash_file(path))


def _open_regular(directory: Path, name: str) -> io.BufferedReader:
    """Open first and look then, so that nobody can put another file there in between; a FIFO must not block."""
    try:
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise BundleError(name, f"it is missing from {directory}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            fix = "copy the bundle with its links followed (cp -rL)"
            raise BundleError(name, "it is a symbolic link", fix) from error
        raise BundleError(name, f"it cannot be read ({error.strerror})") from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return io.BufferedReader(io.FileIO(descriptor))
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(name, "it is not a regular file")
    fix = "copy the bundle (cp -r)"
    raise BundleError(name, "it is hard-linked, so somebody may change it from elsewhere", fix)


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A fresh directory beside `target` that becomes `target` by one rename when the block succeeds.

    When the block fails, nothing is left. Raises UsageError if `target` exists, before and after the block.
    """
    refuse_existing(target)
    parent = target.absolute().parent
    first_new = _first_missing(parent)
    # Named before it is made, so that an interruption at any moment finds what to remove.
    staging = parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        _make_directory(staging)
        yield staging
        for path in staging.iterdir():
            sync(path)
        staging.chmod(0o777 & ~current_umask())
        refuse_existing(target)
        staging.rename(target)
        sync(parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if first_new is not None:
            _remove_empty(parent, first_new)
        raise


def _make_directory(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write to {path.parent}", reason, "choose another --out") from error


def refuse_existing(target: Path) -> None:
    """Nothing is ever overwritten: raise UsageError if `target` is there, be it a broken link."""
    if os.path.lexists(target):
        raise UsageError(
            f"{target} exists", "nothing is ever overwritten", "choose another --out, or remove it first"
        )


def sync(path: Path) -> None:
    """Push a file's or a directory's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def current_umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _first_missing(path: Path) -> Path | None:
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    return missing[-1] if missing else None


def _remove_empty(path: Path, last: Path) -> None:
    for folder in (path, *path.parents):
        try:
            folder.rmdir()
        except OSError:
            return
        if folder == last:
            return
