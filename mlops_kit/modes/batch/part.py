"""One unit's predictions on their way to the disk."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.bundle.files import hash_file, sync
from mlops_kit.modes.batch.conversion import is_text
from mlops_kit.modes.batch.disk import disk_failure

ROW_GROUP_ROWS = 122_880


@dataclass(frozen=True, slots=True)
class FinishedFile:
    """A file that is on the disk, at its final name."""

    size: int
    sha256: str


class PartWriter:
    """Writes a Parquet file under a temporary name; `finish` puts it in its place. For one thread at a time."""

    def __init__(self, target: Path, schema: pa.Schema) -> None:
        self._target = target
        self._temporary = target.with_name(f".{target.name}.tmp")
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self.rows = 0
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._writer = pq.ParquetWriter(self._temporary, schema, **_format(schema))
        except OSError:
            self._temporary.unlink(missing_ok=True)
            raise

    def write(self, table: pa.Table) -> None:
        """Add rows. Raises StoreError if the disk is full."""
        self._pending.append(table)
        self._pending_rows += table.num_rows
        self.rows += table.num_rows
        if self._pending_rows >= ROW_GROUP_ROWS:
            self._write_pending()

    def finish(self) -> FinishedFile:
        """Push everything to the disk, and rename. Raises StoreError if the disk is full."""
        self._write_pending()
        with _disk_errors(self._target):
            self._writer.close()
            sync(self._temporary)
            finished = FinishedFile(self._temporary.stat().st_size, hash_file(self._temporary))
            self._temporary.replace(self._target)
            sync(self._target.parent)
        return finished

    def abandon(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(pa.ArrowException, OSError):
            self._writer.close()
        self._temporary.unlink(missing_ok=True)

    def _write_pending(self) -> None:
        if self._pending:
            with _disk_errors(self._target):
                self._writer.write_table(pa.concat_tables(self._pending), row_group_size=ROW_GROUP_ROWS)
        self._pending, self._pending_rows = [], 0


class _disk_errors(contextlib.AbstractContextManager[None]):  # noqa: N801 - used like a function
    def __init__(self, target: Path) -> None:
        self._target = target

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, (pa.ArrowException, OSError)):
            raise disk_failure(self._target, error) from error


def _format(schema: pa.Schema) -> dict[str, Any]:
    """Dictionaries of numbers cost a lot and save little. Whole numbers are packed as differences."""
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [field.name for field in schema if is_text(field.type)],
        "column_encoding": {
            field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_integer(field.type)
        },
    }
