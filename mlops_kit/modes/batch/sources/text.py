"""Files of records in lines: cut into units where a record ends, and read in blocks of whole records."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa

from mlops_kit.errors import InputError
from mlops_kit.modes.batch.sources.interface import BadRow, Chunk, Unit
from mlops_kit.schema import Array

UNIT_BYTES = 2**26
BLOCK_BYTES = 2**21
SAMPLE_BYTES = 2**20

MOST_RECORD_BYTES = 2**24
"""A record that has not ended by then is given up after its first line: most likely a quote is never closed."""

RECORD_CHARACTERS = 10_000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NOT_UTF8 = "bytes that are not UTF-8"

LastEnd = Callable[[bytes, bool], int]
"""Where the last record of some bytes ends; 0 if none does. It is told whether they are the last of their span."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file as it was when it was planned. `head` comes before the records: a byte order mark, a header.

    `version` tells its content from others; if there is none, size and time do.
    """

    path: Path
    size: int
    mtime_ns: int
    head: bytes = b""
    version: str = ""

    @property
    def start(self) -> int:
        """The position of the first record."""
        return len(self.head)

    def units(self, root: Path, spans: Iterable[tuple[int, int]]) -> Iterator[Unit]:
        """A unit for each span, with a number of rows that is estimated from the file's beginning."""
        stem = self.path.relative_to(root).with_suffix("")
        lines_per_byte = self._lines_per_byte()
        for first, last in spans:
            version = self.version or f"{self.size}:{self.mtime_ns}"
            identity = f"{version}:{first}:{last}:".encode() + self.head
            rows = round((last - first) * lines_per_byte)
            fingerprint = hashlib.sha256(identity).hexdigest()[:32]
            part, first_row = f"{stem}-{first:012d}.parquet", 0 if first == self.start else None
            yield Unit(str(self.path), part, fingerprint, (first, last), rows, first_row)

    def _lines_per_byte(self) -> float:
        sample = read_start(self.path, self.start + SAMPLE_BYTES)[self.start :]
        return max(1, sample.count(b"\n")) / max(1, len(sample))


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes of a file up to `end`: whole records; or, if `is_broken`, the first line of one that does not end."""

    data: bytes
    end: int
    is_broken: bool = False


@dataclass(frozen=True, slots=True)
class Records:
    """`count` parsed records, of which `bad` are not in `rows`. `numbers`, from 0, are those of the rows."""

    rows: pa.RecordBatch
    count: int
    numbers: Array
    bad: Sequence[BadRow]

    @staticmethod
    def of(
        arrays: Mapping[str, pa.Array],
        numbers: Array,
        bad: Sequence[BadRow],
        faults: Mapping[int, tuple[str, str]],
        record_of: Callable[[int], bytes],
    ) -> "Records":
        """Take out the rows that have `faults`, which give a column and a reason. `bad` are not in the arrays;
        `record_of` gets a record by its number.
        """
        rows = pa.RecordBatch.from_arrays([*arrays.values()], names=[*arrays])
        count = len(numbers) + len(bad)
        if faults:
            found = [
                BadRow(int(numbers[row]), column, reason, shown(record_of(int(numbers[row]))))
                for row, (column, reason) in faults.items()
            ]
            bad = sorted([*bad, *found], key=lambda row: row.row)
            good = np.delete(np.arange(len(numbers)), [*faults])
            rows, numbers = rows.take(pl.Series(good).to_arrow()), numbers[good]
        return Records(rows, count, numbers, bad)

    def chunks(self, first: int, most: int) -> Iterator[Chunk]:
        """At most so many rows at a time. `first` is the number that record 0 has within the unit."""
        if not self.bad:
            for start in range(0, self.count, most):
                rows = self.rows.slice(start, most)
                yield Chunk(rows, first + start, rows.num_rows)
            return
        for start in range(0, self.count, most):
            stop = min(start + most, self.count)
            low, high = np.searchsorted(self.numbers, [start, stop])
            bad = tuple(replace(row, row=first + row.row) for row in self.bad if start <= row.row < stop)
            rows = self.rows.slice(low, high - low)
            yield Chunk(rows, first + start, stop - start, self.numbers[low:high] + first, bad)


def find_file(path: Path, head_of: Callable[[bytes], bytes], version: str = "") -> TextFile:
    """The file as it is now; `head_of` tells what of its first bytes comes before the records."""
    head = head_of(read_start(path, SAMPLE_BYTES))
    status = path.stat()
    return TextFile(path, status.st_size, status.st_mtime_ns, head, version)


def read_start(path: Path, size: int) -> bytes:
    """The first bytes of a file. Raises InputError if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_blocks(file: TextFile, span: tuple[int, int], last_end: LastEnd, size: int = 0) -> Iterator[Block]:
    """The span, about `size` bytes at a time. Raises InputError if it cannot be read or the file has changed."""
    try:
        with file.path.open("rb") as stream:
            _check_unchanged(file, stream)
            stream.seek(span[0])
            yield from _blocks(file, stream, span, last_end, size or BLOCK_BYTES)
            _check_unchanged(file, stream)
    except OSError as error:
        raise _unreadable(file.path, error) from error


def shown(record: bytes) -> str:
    """A record for people: without its line end, not too long, bytes that are not UTF-8 escaped."""
    return record.rstrip(b"\r\n").decode(errors="backslashreplace")[:RECORD_CHARACTERS]


def is_utf8(data: bytes) -> bool:
    """Whether it can be decoded."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _blocks(
    file: TextFile, stream: BinaryIO, span: tuple[int, int], last_end: LastEnd, size: int
) -> Iterator[Block]:
    position, end = span
    rest = b""
    is_dropping = False
    while rest or position < end:
        fresh = stream.read(min(size, end - position))
        if not fresh and position < end:
            raise _changed(file)
        position += len(fresh)
        rest += fresh
        if is_dropping:
            line_end = rest.find(b"\n") + 1
            rest, is_dropping = rest[line_end or len(rest) :], not line_end
            continue
        cut = last_end(rest, position == end)
        if cut:
            yield Block(rest[:cut], position - len(rest) + cut)
        elif position == end or len(rest) >= MOST_RECORD_BYTES:
            cut = rest.find(b"\n") + 1 or len(rest)
            yield Block(rest[:cut], position - len(rest) + cut, is_broken=True)
            is_dropping = cut == len(rest) and not rest.endswith(b"\n")
        rest = rest[cut:]


def _check_unchanged(file: TextFile, stream: BinaryIO) -> None:
    status = os.fstat(stream.fileno())
    if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
        raise _changed(file)


def _changed(file: TextFile) -> InputError:
    return InputError(f"{file.path}: changed while it was read", fix="run again when it is written")


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read", error.strerror or str(error), "check the file, and run again")
