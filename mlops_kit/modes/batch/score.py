"""Parquet in, Parquet out: slices stream through worker threads, in order and in bounded memory."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.bundle.files import staged, sync
from mlops_kit.errors import ColumnValueError, InputError, MissingColumnsError, UsageError, listed
from mlops_kit.frames import columns_of, frame_of
from mlops_kit.predictor import Predictor

SLICE_ROWS = 16_384
"""Rows of one run: large enough to make its overhead vanish, small enough to stay in the cache."""

MOST_PENDING = 8
"""Slices in memory at a time, being read, scored or waiting to be written."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a batch run did."""

    files: int
    rows: int
    seconds: float

    @property
    def rows_per_s(self) -> float:
        """Throughput, from the opening of the first file to the last write."""
        return self.rows / self.seconds if self.seconds else 0.0


def input_files(path: Path) -> list[Path]:
    """The Parquet files that `path` names: the file itself, or those of the folder and below, by name."""
    if path.is_file():
        return [path]
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder", fix="check INPUT")
    files = sorted(
        file for file in path.rglob("*.parquet") if file.is_file() and not file.name.startswith((".", "_"))
    )
    if not files:
        raise UsageError(f"{path}: no Parquet file in it", fix="give a Parquet file, or a folder of them")
    return files


def count_rows(files: Sequence[Path]) -> int:
    """Rows of Parquet files, from their footers. Raises InputError for a file that is not Parquet."""
    return sum(_open(file).metadata.num_rows for file in files)


def score_files(
    predictor: Predictor,
    source: Path,
    out: Path,
    *,
    keep: Sequence[str] = (),
    threads: int | None = None,
    on_rows: Callable[[int], None] = lambda _rows: None,
) -> BatchResult:
    """Score a Parquet file or folder into the new folder `out`, a file for each file of the input.

    The columns in `keep` are passed through. `out` appears only when everything is written; if the run fails,
    nothing is left. `on_rows` is told of rows that are done. Raises InputError and UsageError.
    """
    started = time.perf_counter()
    keep = tuple(dict.fromkeys(keep))
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"{out} lies inside of {source}", "the next run would read it", "choose another --out")
    files = input_files(source)
    root = source if source.is_dir() else source.parent
    _check_columns(predictor, files, keep)
    done = 0
    with staged(out) as directory, ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for file in files:
            target = directory / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            for rows in _score_file(predictor, file, target, keep, pool):
                done += rows
                on_rows(rows)
    return BatchResult(len(files), done, time.perf_counter() - started)


def _check_columns(predictor: Predictor, files: Sequence[Path], keep: Sequence[str]) -> None:
    """Fail before the first slice rather than in the last file."""
    outputs = {output.name for output in predictor.signature.outputs}
    if clashing := [name for name in keep if name in outputs]:
        raise UsageError(
            f"cannot keep {listed(clashing)}", "the predictions have that name", "rename it in the input"
        )
    needed = [*(column.name for column in predictor.signature.columns), *keep]
    for file in files:
        available = _open(file).schema_arrow.names
        if missing := [name for name in dict.fromkeys(needed) if name not in available]:
            error = MissingColumnsError(missing, available)
            raise InputError(f"{file}: {error.what}", error.why, error.fix)
        if twice := [name for name in needed if available.count(name) > 1]:
            raise InputError(f"{file}: two columns are called {twice[0]!r}", fix="rename one of them")


def _score_file(
    predictor: Predictor, file: Path, target: Path, keep: tuple[str, ...], pool: ThreadPoolExecutor
) -> Iterator[int]:
    """Yields the number of rows of each slice that was written."""
    parquet = _open(file)
    columns = list(dict.fromkeys((*keep, *(column.name for column in predictor.signature.columns))))
    schema = _score(predictor, _no_rows(parquet, columns), keep).schema
    dictionaries = [name for name in keep if not pa.types.is_floating(schema.field(name).type)]
    with pq.ParquetWriter(target, schema, compression="zstd", use_dictionary=dictionaries) as writer:
        start = 0
        for result in _in_order(pool, lambda batch: _score(predictor, batch, keep), parquet, columns):
            try:
                table = result.result()
            except ColumnValueError as error:
                shifted = error.shifted(start)
                raise InputError(f"{file}: {shifted.what}", shifted.why, shifted.fix) from error
            writer.write_table(table)
            start += table.num_rows
            yield table.num_rows
    sync(target)


def _in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[pa.RecordBatch], pa.Table],
    parquet: pq.ParquetFile,
    columns: list[str],
) -> Iterator["Future[pa.Table]"]:
    """Slices in the file's order, with only a few of them in memory at a time."""
    pending: deque[Future[pa.Table]] = deque()
    try:
        for batch in parquet.iter_batches(SLICE_ROWS, columns=columns):
            pending.append(pool.submit(work, batch))
            if len(pending) >= MOST_PENDING:
                yield pending.popleft()
        while pending:
            yield pending.popleft()
    finally:
        for future in pending:
            future.cancel()


def _score(predictor: Predictor, batch: pa.RecordBatch, keep: tuple[str, ...]) -> pa.Table:
    needed = [column.name for column in predictor.signature.columns]
    columns, others = columns_of(pl.DataFrame(batch.select(needed)))
    if wrong := list(others):
        raise InputError(f"column {wrong[0]!r} is {others[wrong[0]]}", "which no model takes", "cast it first")
    outputs = predictor.predict_columns(columns)
    # By way of Polars, because PyArrow imports pandas to see whether that is what it was given.
    answers = frame_of(outputs).to_arrow()
    kept = [batch.column(name) for name in keep]
    return pa.Table.from_arrays([*kept, *answers.columns], [*keep, *answers.column_names])


def _no_rows(parquet: pq.ParquetFile, columns: list[str]) -> pa.RecordBatch:
    schema = pa.schema([parquet.schema_arrow.field(name) for name in columns])
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _open(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{file}: not a readable Parquet file", str(error).split("\n", 1)[0], "give Parquet files"
        ) from error
