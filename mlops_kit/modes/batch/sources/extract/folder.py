"""The folder of an extract: one file of rows, and which query they answer."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from mlops_kit.bundle.files import hash_file, sync
from mlops_kit.errors import StoreError
from mlops_kit.modes.batch.sources.extract.interface import Query
from mlops_kit.modes.batch.sources.extract.resolve import extractor_of
from mlops_kit.modes.batch.sources.interface import Source
from mlops_kit.modes.batch.sources.ndjson import NdjsonSource
from mlops_kit.modes.batch.sources.parquet import ParquetSource
from mlops_kit.schema import Signature


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
            return self._open(query, signature, keep, may_reuse=may_reuse, on_rows=on_rows)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove the rows."""
        shutil.rmtree(self._path, ignore_errors=True)

    def _open(
        self,
        query: Query,
        signature: Signature,
        keep: Sequence[str],
        *,
        may_reuse: bool,
        on_rows: Callable[[int], None],
    ) -> Source:
        extractor = extractor_of(query)
        is_stdin = query.name == "stdin"
        rows = self._path / f"{'stdin' if is_stdin else 'query'}{extractor.SUFFIX}"
        question = self._path / "query.sha256"
        identity = hashlib.sha256(repr((str(query.address), query.sql)).encode()).hexdigest()
        is_there = rows.is_file() and question.is_file() and question.read_text() == identity
        if is_stdin or not (is_there and may_reuse):
            self.discard()
            self._path.mkdir(parents=True)
            _write(rows, lambda target: extractor.extract(query, target, on_rows))
            _write(question, lambda target: target.write_text(identity))
        version = hash_file(rows)
        if extractor.SUFFIX == ".ndjson":
            return NdjsonSource(self._path, [rows], signature, version=version)
        needed = [*(column.name for column in signature.columns), *keep]
        return ParquetSource(self._path, [rows], needed, version=version)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Give the file its name when it is whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        fix = "make room, and run again"
        raise StoreError(f"{path}: cannot be written", error.strerror or str(error), fix) from error
