"""Runs of `mlkit batch-predict` that are as long as is wanted."""

import time

import polars as pl

from mlops_kit.bench.commands import predict_batch
from mlops_kit.bench.interface import Scored, Subject
from mlops_kit.bench.rows import repeated
from mlops_kit.schema import Column, Output, Signature

FIRST_ROWS, QUICK_ROWS = 50_000, 10_000
"""So many are published first, whatever is asked for: looking up among a handful would be too fast."""

LEAST_ROWS, MOST_ROWS = 20_000, 20_000_000


class Publishing:
    """Predicts rows into one output, with their numbers as keys; those that are asked for come first."""

    def __init__(self, subject: Subject, out: str) -> None:
        self.key = key_name(subject.signature)
        self._subject, self._out = subject, out
        self._stored = pl.concat([subject.asked, subject.stored])
        self._rows_per_s = 0.0
        self._first: Scored | None = None

    def publish_first(self) -> Scored:
        """Fill the output, before answers are looked at there."""
        self._first = self.publish(QUICK_ROWS if self._subject.is_quick else FIRST_ROWS)
        return self._first

    def publish(self, rows: int) -> Scored:
        """Predict so many, and put them into the output instead of others."""
        subject, frame = self._subject, repeated(self._stored, rows)
        path = subject.folder / "rows.parquet"
        frame.with_row_index(self.key).write_parquet(path)
        words = ("--key", self.key, "--keep-generations", "1", "--work", str(subject.folder / "work"))
        started = time.perf_counter()
        report = predict_batch(subject, path, self._out, *words)
        start_s = time.perf_counter() - started - report["seconds"]
        self._rows_per_s = rows / report["seconds"]
        return Scored(
            rows=rows,
            seconds=report["seconds"],
            peak_memory_bytes=report["peak_memory_bytes"],
            start_s=start_s,
        )

    def score(self, seconds: float) -> Scored:
        """Predict as many rows as take about so long, to judge by the publication before. To a quick bench, that
        itself is enough if it has taken about so long.
        """
        first, self._first = self._first, None
        if self._subject.is_quick and first and first.seconds >= seconds / 2:
            return first
        return self.publish(min(MOST_ROWS, max(LEAST_ROWS, round(self._rows_per_s * seconds))))


def key_name(signature: Signature) -> str:
    """A name for the row's number that the model does not use itself."""
    columns: tuple[Column | Output, ...] = (*signature.columns, *signature.outputs)
    taken = {column.name for column in columns}
    name = "row_number"
    while name in taken:
        name += "_"
    return name
