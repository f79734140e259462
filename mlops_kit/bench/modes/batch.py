"""`mlkit batch-predict` from a Parquet file to a folder."""

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from mlops_kit.bench.answers import read_records
from mlops_kit.bench.interface import OFFLINE, Scored, Subject
from mlops_kit.bench.publishing import Publishing
from mlops_kit.schema import Columns


def why_not(_subject: Subject) -> str:
    """It needs nothing."""
    return ""


@contextmanager
def open_mode(subject: Subject) -> Iterator["Batch"]:
    """Has nothing that runs all the time."""
    yield Batch(subject, Publishing(subject, str(subject.folder / "predictions")))


class Batch:
    """Each measurement is a run of the command."""

    scenarios = (OFFLINE,)

    def __init__(self, subject: Subject, publishing: Publishing) -> None:
        self._subject, self._publishing = subject, publishing

    def await_ready(self) -> None:
        """It always is."""

    def answers(self) -> Columns:
        """Published and read again."""
        self._publishing.publish_first()
        frame = pl.read_parquet(self._subject.folder / "predictions" / "current" / "*.parquet")
        asked = frame.sort(self._publishing.key).head(len(self._subject.asked))
        return read_records(asked.to_dicts(), self._subject.signature.outputs)

    def score(self, seconds: float) -> Scored:
        """A file with as many rows as that takes."""
        return self._publishing.score(seconds)
