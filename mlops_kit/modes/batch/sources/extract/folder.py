"""The folder of an extract: one file of rows, and which query they answer."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from mlops_kit.bundle.files import hash_file, sync
from mlops_kit.errors import MissingColumnsError, StoreError
from mlops_kit.modes.batch.sources.extract.interface import Query
from mlops_kit.modes.batch.sources.extract.resolve import extractor_of
from mlops_kit.modes.batch.sources.interface import Source
from mlops_kit.modes.batch.sources.ndjson import NdjsonSource
from mlops_kit.modes.batch.sources.parquet import ParquetSource
from mlops_kit.schema import Signature

ABOUT = "about.json"
T = TypeVar("T")


class ExtractFolder:
    """A folder of one run, for what it reads from elsewhere."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(
        self,
        query: Query,
        signature: Signature,
        keep: Sequence[str],
        *,
        may_reuse: bool,
        on_rows: Callable[[int], None],
    ) -> Source:
        """The rows that answer the query: those read by an unfinished run of the same query if `may_reuse`.

        What stdin has can be read only once, and is always new. Raises what the extractors do, InputError for rows
        that lack a column, StoreError for a full disk.
        """
        try:
            rows, columns = self._read(query, may_reuse, on_rows)
            needed = [*(column.name for column in signature.columns), *keep]
            _check_columns(needed, columns)
            version = hash_file(rows)
            if rows.suffix == ".ndjson":
                return NdjsonSource(self._path, [rows], signature, version=version, columns=columns)
            return ParquetSource(self._path, [rows], needed, version=version)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove the rows."""
        shutil.rmtree(self._path, ignore_errors=True)

    def _read(self, query: Query, may_reuse: bool, on_rows: Callable[[int], None]) -> tuple[Path, Sequence[str]]:
        """The file of the rows, and their columns."""
        extractor = extractor_of(query)
        is_stdin = query.name == "stdin"
        rows = self._path / f"{'stdin' if is_stdin else 'query'}{extractor.SUFFIX}"
        identity = hashlib.sha256(repr((str(query.address), query.sql)).encode()).hexdigest()
        about = self._about()
        if not is_stdin and may_reuse and about and about.query == identity and rows.is_file():
            return rows, about.columns
        self.discard()
        self._path.mkdir(parents=True)
        names = _written(rows, lambda target: extractor.extract(query, target, on_rows))
        data = msgspec.json.encode(_About(identity, tuple(names)))
        _written(self._path / ABOUT, lambda target: target.write_bytes(data))
        return rows, names

    def _about(self) -> "_About | None":
        try:
            return msgspec.json.decode((self._path / ABOUT).read_bytes(), type=_About)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None


class _About(msgspec.Struct, frozen=True):
    """Which query was answered, with which columns."""

    query: str
    columns: tuple[str, ...]


def _check_columns(needed: Sequence[str], columns: Sequence[str]) -> None:
    if missing := [name for name in needed if name not in columns]:
        raise MissingColumnsError(missing, columns)


def _written(path: Path, write: Callable[[Path], T]) -> T:
    """Give the file its name when it is whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        result = write(temporary)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        fix = "make room, and run again"
        raise StoreError(f"{path}: cannot be written", error.strerror or str(error), fix) from error
    else:
        return result
