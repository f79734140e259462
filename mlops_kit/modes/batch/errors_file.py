"""The file that people choose for bad rows: no other file of theirs is written over."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.errors import UsageError

SUFFIX = ".parquet"
MARK = {b"mlkit": b"bad rows"}
"""In the metadata of every file of bad rows: such a file may be replaced by the next one."""


def check_errors_file(path: Path, source: str, out: Path | None) -> None:
    """Raise UsageError unless the file is one that a run may write. `out` is the folder that it publishes to."""
    place = path.resolve()
    if path.suffix.lower() != SUFFIX:
        fix = f"write --errors {path.with_suffix(SUFFIX)}, or --errors fail to stop at the first bad row"
        raise UsageError(f"--errors {path}: bad rows go to a Parquet file", fix=fix)
    if out and place.is_relative_to(out.resolve()):
        why = "mlkit orders that folder itself"
        raise UsageError(f"--errors {path} lies inside of --out", why, "choose a place beside it")
    if _is_read(place, source):
        why = "the next run would read it"
        raise UsageError(f"--errors {path} lies inside of INPUT", why, "choose another place")
    if place.exists() and not _is_ours(place):
        why = "it is there already, and mlkit did not write bad rows to it"
        raise UsageError(f"--errors {path} would be written over", why, "choose another name, or remove it")
    _try_to_write(path)


def _is_read(place: Path, source: str) -> bool:
    if not source or "://" in source:
        return False
    given = Path(source)
    return place.is_relative_to(given.resolve()) if given.is_dir() else place.match(str(given.resolve()))


def _is_ours(path: Path) -> bool:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return MARK.items() <= metadata.items()


def _try_to_write(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"--errors {path}: cannot be written", why, "choose another place") from error
