"""From what INPUT says to a source."""

import glob
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from mlops_kit.errors import UsageError, listed
from mlops_kit.modes.batch.sources.csv import CsvSource
from mlops_kit.modes.batch.sources.interface import Source
from mlops_kit.modes.batch.sources.ndjson import NdjsonSource
from mlops_kit.modes.batch.sources.parquet import ParquetSource
from mlops_kit.schema import Signature
from mlops_kit.tables.address import advised_address

KINDS = {".parquet": "Parquet", ".pq": "Parquet", ".csv": "CSV", ".ndjson": "NDJSON", ".jsonl": "NDJSON"}
"""Suffix → what is in such a file."""

CONVERSION = "read it with --sql \"SELECT * FROM 'FILE'\", if DuckDB can, or convert it"
WILDCARDS = frozenset("*?[")
ARROW_STREAM = b"\xff\xff\xff\xff"
"""How an Arrow IPC stream begins."""


def open_files(text: str, signature: Signature, keep: Sequence[str]) -> Source:
    """The rows of a file, of the files below a folder, or of those that a glob such as data/**/*.parquet names.

    Files whose name begins with '.' or '_' do not count. Raises UsageError if there are none, or of several kinds.
    """
    root, files = find_files(text)
    match _kind_of(text, files):
        case "CSV":
            return CsvSource(root, files, signature)
        case "NDJSON":
            return NdjsonSource(root, files, signature)
        case _:
            return ParquetSource(root, files, [*(column.name for column in signature.columns), *keep])


def find_files(text: str) -> tuple[Path, list[Path]]:
    """The folder that the files' names are relative to, and the files, by name."""
    path = Path(text)
    if path.exists() and not path.is_file() and not path.is_dir():
        why = "mlkit reads a file more than once"
        fix = "write it to a file, or pipe an Arrow IPC stream and give - as INPUT"
        raise UsageError(f"{text} is a pipe or a device", why, fix)
    if path.is_file():
        suffix = path.suffix.lower()
        if suffix not in KINDS:
            fix = advised_address(path) or _advice(path)
            raise UsageError(f"{path}: unknown kind of file", f"mlkit reads {listed(list(KINDS))}", fix)
        return path.parent, [path]
    if path.is_dir():
        root, found = path, [*path.rglob("*")]
    elif WILDCARDS & set(text):
        root = _fixed_part(path)
        found = [Path(name) for name in glob.glob(text, recursive=True)]  # noqa: PTH207 - it takes the whole path
    else:
        raise UsageError(f"{text}: no such file or folder", fix="check INPUT")
    files = sorted(file for file in found if file.suffix.lower() in KINDS and _is_data(file.relative_to(root)))
    if not files:
        fix = "give a Parquet, CSV or NDJSON file, or a folder of them"
        raise UsageError(f"{text}: no file there that mlkit reads", f"it reads {listed(list(KINDS))}", fix)
    files = [file for file in files if file.is_file()]
    # Writers leave empty files where they had no rows; one alone is more likely a mistake.
    return root, [file for file in files if file.stat().st_size] or files


def _advice(path: Path) -> str:
    with path.open("rb") as file:
        is_stream = file.read(len(ARROW_STREAM)) == ARROW_STREAM
    return f"give - as INPUT, and the file on stdin: - < {path}" if is_stream else CONVERSION


def _kind_of(text: str, files: Sequence[Path]) -> str:
    kinds = {KINDS[file.suffix.lower()] for file in files}
    if len(kinds) > 1:
        why = f"there are {listed(sorted(kinds))} files"
        raise UsageError(
            f"{text}: files of several kinds", why, "choose some of them with a glob, such as *.parquet"
        )
    return kinds.pop()


def _is_data(relative: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in relative.parts)


def _fixed_part(path: Path) -> Path:
    """The folders before the first wildcard."""
    parts = takewhile(lambda part: not WILDCARDS & set(part), path.parts)
    return Path(*parts)
