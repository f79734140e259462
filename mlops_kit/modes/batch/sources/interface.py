"""What a source of rows must do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from mlops_kit.schema import Array


@dataclass(frozen=True, slots=True)
class Unit:
    """A span of the input that is scored, recorded and, after a crash, redone as one.

    `source` is the file as people know it. `part` is the relative path of the Parquet file that the unit becomes;
    the parts of one source sort in the order of its rows. `fingerprint` changes whenever the rows may have
    changed. `span` is [first, last) in row groups. `rows` may be an estimate.
    `first_row` is the number of its first row within the source, where that is known before it is read.
    """

    source: str
    part: str
    fingerprint: str
    span: tuple[int, int]
    rows: int
    first_row: int | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be predicted: its number within the unit, from 0, and the row itself as text (JSON, or the
    line as it is in the file). `column` is empty where the whole row is at fault.
    """

    row: int
    column: str
    reason: str
    record: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of a unit: `records` of them, from number `first` on, of which `bad` are not in `rows`.

    `numbers` has the number within the unit of each row in `rows`; None means first, first + 1, ….
    """

    rows: pa.RecordBatch
    first: int
    records: int
    numbers: Array | None = None
    bad: tuple[BadRow, ...] = ()


class Source(Protocol):
    """Rows, divided into units. Reading a unit again gives the same rows in the same order, or InputError."""

    @property
    def schema(self) -> pa.Schema:
        """The columns that there are, and the types in which `chunks` gives them."""

    @property
    def folder_columns(self) -> Sequence[str]:
        """Columns that are not in the files, but in the names of their folders."""

    @property
    def units(self) -> Sequence[Unit]:
        """Every unit, in order."""

    def chunks(self, unit: Unit, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The unit's rows with only these columns, at most `rows` at a time. Memory must not grow with the unit.

        Raises InputError if the unit cannot be read, or has changed since it was planned.
        """
