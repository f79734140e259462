"""A generation: one complete set of predictions, lying in Parquet files, ready to be published."""

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 16_384
"""Rows that a backend is handed at a time."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A complete set of predictions. `parts` are Parquet files of one `schema`, in the order of the rows.

    `key` names the columns, together unique and never null, by which a row is looked up; () where there are none.
    `predicted_at` is ISO 8601 in UTC: when the run that made it began.
    """

    name: str
    digest: str
    predicted_at: str
    key: tuple[str, ...]
    rows: int
    schema: pa.Schema
    parts: tuple[Path, ...]

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Every row, in order, at most `rows` at a time."""
        for part in self.parts:
            with pq.ParquetFile(part) as file:
                yield from file.iter_batches(rows)


def name_generation(moment: datetime | None = None) -> str:
    """A name that sorts by time and never comes twice; letters, digits and underscores only, so that it can be
    part of a file's, a key's or a table's name.

    >>> name_generation(datetime(2026, 11, 21, 9, 30, 15, 123456, tzinfo=UTC))[:19]
    'g20261121t093015123'
    """
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    return f"g{moment:%Y%m%dt%H%M%S}{moment.microsecond // 1000:03d}_{secrets.token_hex(3)}"


def is_generation_name(text: str) -> bool:
    """Whether `name_generation` made it."""
    return re.fullmatch(r"g\d{8}t\d{9}_[0-9a-f]{6}", text) is not None


def key_text(values: Sequence[object]) -> str:
    """A key as one text: a single value as it is written, several joined by ':'.

    In a key of several values, '%' and ':' inside of a value are written as %25 and %3A.

    >>> key_text([17]), key_text(["JFK", "a:b"])
    ('17', 'JFK:a%3Ab')
    """
    texts = [_text(value) for value in values]
    if len(texts) == 1:
        return texts[0]
    return ":".join(text.replace("%", "%25").replace(":", "%3A") for text in texts)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat else str(value)
