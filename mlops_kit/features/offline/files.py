"""From a file of rows to a file of rows with features: some of them at a time, and all or nothing."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.errors import InputError, UsageError
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.history import ERRORS, checked_frame
from mlops_kit.features.offline.spine import check_spine, read_spine
from mlops_kit.features.offline.vectors import compute_vectors
from mlops_kit.features.offline.work import JoinReport, Resources
from mlops_kit.frames import read_frame

PARQUET: Final = (".parquet", ".pq")
ROW_GROUP_ROWS: Final = 122_880
READ_ROWS: Final = 2**16


@dataclass(frozen=True, slots=True)
class JoinJob:
    """Add `features` to the rows of the file `spine`, and write them to `out`; `time` is as in `join`.

    A spine of Parquet may be larger than memory: it is taken some rows at a time, and histories are read anew for
    each, but for what is out of the rows' times. Other kinds of files are read as a whole.
    """

    features: FeatureSet
    spine: Path
    out: Path
    time: str | None = None


def join_file(job: JoinJob, resources: Resources) -> JoinReport:
    """Carry out the job in a hidden folder near `out`, which is replaced when all is done, and else stays. Folders
    that are missing are made then.

    Raises UsageError, MissingColumnsError and InputError. The folder of `resources` is not used.
    """
    if job.out.suffix.lower() not in PARQUET:
        raise UsageError(f"{job.out}: the rows are written as Parquet", fix="choose a name that ends in .parquet")
    # On the same disk, so that it becomes `out` in one step.
    folder = next(folder for folder in job.out.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder", fix="check --out")
    report = JoinReport()
    with tempfile.TemporaryDirectory(prefix=f".{job.out.name}.", suffix=".tmp", dir=folder) as staging:
        written = Path(staging) / "rows"
        _write(job, written, replace(resources, folder=Path(staging)), report)
        with written.open("rb") as file:
            os.fsync(file.fileno())
        job.out.parent.mkdir(parents=True, exist_ok=True)
        written.replace(job.out)
    return report


def _write(job: JoinJob, target: Path, resources: Resources, report: JoinReport) -> None:
    writer: pq.ParquetWriter | None = None
    try:
        for rows in _portions(job, resources.memory_bytes):
            for joined in _joined(job, rows, resources, report):
                if writer is None:
                    writer = pq.ParquetWriter(target, joined.schema, **_format(joined.schema))
                writer.write_table(joined)
    finally:
        if writer is not None:
            writer.close()


def _joined(job: JoinJob, rows: pa.Table, resources: Resources, report: JoinReport) -> Iterator[pa.Table]:
    """The rows with their features, a row group at a time; at least one, be it empty."""
    asking = check_spine(pl.DataFrame(rows.slice(0, 0)).schema, job.features, job.time)
    asked = checked_frame(rows.select(asking.columns), job.spine)
    spine = read_spine(asked, asking, report.rows)
    vectors = compute_vectors(job.features, spine, resources, report)
    for first in range(0, max(len(rows), 1), ROW_GROUP_ROWS):
        joined = rows.slice(first, ROW_GROUP_ROWS)
        for column in vectors.columns(first, first + ROW_GROUP_ROWS):
            joined = joined.append_column(column.name, column.to_arrow())
        yield joined


def _portions(job: JoinJob, memory_bytes: int) -> Iterator[pa.Table]:
    """All rows, some at a time; at least one table, be it empty."""
    if job.spine.suffix.lower() not in PARQUET or not job.spine.is_file():
        yield read_frame(job.spine).to_arrow()
        return
    try:
        with pq.ParquetFile(job.spine) as file:
            batches = file.iter_batches(READ_ROWS)
            count = max(_most_rows(file.metadata, job.features, memory_bytes) // READ_ROWS, 1)
            is_first = True
            while (some := [*islice(batches, count)]) or is_first:
                yield pa.Table.from_batches(some, file.schema_arrow)
                is_first = False
    except ERRORS as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"{job.spine}: cannot be read", reason, "check the file") from error


def _most_rows(metadata: pq.FileMetaData, features: FeatureSet, memory_bytes: int) -> int:
    """So many that they and their features take about half of the memory."""
    sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    own = 2 * int(sum(sizes)) // max(int(metadata.num_rows), 1)
    added = 32 * len(features.features) + 64 * (len(features.events) + len(features.tables))
    return memory_bytes // (2 * (own + added))


def _format(schema: pa.Schema) -> dict[str, Any]:
    """Dictionaries of numbers cost a lot and save little."""
    texts = [
        field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    return {"compression": "zstd", "compression_level": 1, "use_dictionary": texts}
