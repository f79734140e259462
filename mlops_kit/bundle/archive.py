"""A bundle in one file: a ZIP archive, stored without compression.

Weights hardly compress, and an archive whose members are all stored cannot unpack to more than its own size.
"""

import struct
import tempfile
import zipfile
from pathlib import Path

from mlops_kit.bundle.files import CHUNK, current_umask, refuse_existing, sync
from mlops_kit.bundle.manifest import FILE_NAME as MANIFEST
from mlops_kit.bundle.manifest import Manifest, is_plain_name
from mlops_kit.errors import BundleError

SUFFIX = ".mlkit"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""ZIP's earliest time; a constant one keeps the bytes of an archive reproducible."""


def write_archive(directory: Path, manifest: Manifest, target: Path) -> None:
    """Pack a bundle into `target`, by way of a temporary file. Raises UsageError if it exists."""
    refuse_existing(target)
    with tempfile.NamedTemporaryFile(
        prefix=f".{target.name}.", dir=target.absolute().parent, delete=False
    ) as file:
        staging = Path(file.name)
    try:
        with zipfile.ZipFile(staging, "w", zipfile.ZIP_STORED) as archive:
            for name in (MANIFEST, *(entry.name for entry in manifest.files)):
                _add(archive, directory / name)
        staging.chmod(0o666 & ~current_umask())
        sync(staging)
        refuse_existing(target)
        staging.rename(target)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def unpack_archive(path: Path) -> "tempfile.TemporaryDirectory[str]":
    """Unpack into a temporary directory that lives as long as the returned object.

    Raises BundleError for path traversal, links, compression, members that share bytes, and duplicates.
    """
    directory = tempfile.TemporaryDirectory(prefix="mlkit-")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members)
            for member in members:
                _extract(archive, member, Path(directory.name) / member.filename)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError, struct.error) as error:
        directory.cleanup()
        raise BundleError(path.name, f"it is not a readable archive ({error})") from error
    except BaseException:
        directory.cleanup()
        raise
    return directory


def _add(archive: zipfile.ZipFile, path: Path) -> None:
    member = zipfile.ZipInfo(path.name, EPOCH)
    member.external_attr = 0o644 << 16
    member.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(member, "w") as target:
        while chunk := source.read(CHUNK):
            target.write(chunk)


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    size = path.stat().st_size
    names = [member.filename for member in members]
    for member in members:
        name = member.filename
        if not is_plain_name(name):
            raise BundleError(path.name, f"member {name!r} would be written outside of the bundle")
        if (member.external_attr >> 16) & 0o170000 not in (0, 0o100000):
            raise BundleError(path.name, f"member {name!r} is not a regular file")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise BundleError(path.name, f"member {name!r} is compressed or encrypted, and mlkit archives store")
    if len(set(names)) != len(names):
        raise BundleError(path.name, "a member occurs twice")
    if sum(member.file_size for member in members) > size:
        raise BundleError(path.name, "its members add up to more than the archive's own size")


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    with archive.open(member) as source, target.open("xb") as file:
        while chunk := source.read(CHUNK):
            file.write(chunk)
