"""NDJSON files: a JSON object in each line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from mlops_kit.errors import ColumnValueError, suggestion
from mlops_kit.modes.batch.sources.interface import BadRow, Chunk, Unit
from mlops_kit.modes.batch.sources.text import (
    BLOCK_BYTES,
    BYTE_ORDER_MARK,
    NOT_UTF8,
    SAMPLE_BYTES,
    UNIT_BYTES,
    Block,
    Records,
    TextFile,
    find_file,
    is_utf8,
    read_blocks,
    read_start,
    shown,
)
from mlops_kit.modes.batch.sources.typed_values import array_of_values, arrow_type
from mlops_kit.schema import Column, Signature


class NdjsonSource:
    """NDJSON files below `root`, in the order given.

    A column that the model does not have is typed by the beginning of the first file that has rows: whole numbers,
    numbers, true or false, or else text, in which whatever is no string is JSON. It may be absent from a row.
    """

    folder_columns: Sequence[str] = ()

    def __init__(
        self,
        root: Path,
        files: Sequence[Path],
        signature: Signature,
        *,
        unit_bytes: int = 0,
        version: str = "",
        columns: Sequence[str] = (),
    ) -> None:
        """`version`, if given, changes when the content does; `columns` are there even if no row has them.

        Raises InputError for a file that cannot be read.
        """
        opened = [find_file(path, _head, version) for path in files]
        self._files = {str(file.path): file for file in opened}
        found = _find_fields(next((file for file in opened if file.size > file.start), opened[0]), signature)
        others = {name: _Field(Column(name, "string", nullable=True), is_needed=False) for name in columns}
        self._fields = others | found
        self.schema = pa.schema([(name, arrow_type(field.column)) for name, field in self._fields.items()])
        self.units = tuple(
            unit for file in opened for unit in file.units(root, _spans(file, unit_bytes or UNIT_BYTES))
        )

    def chunks(self, unit: Unit, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The unit's rows. A line that is no JSON object is bad."""
        fields = [self._fields[name] for name in columns]
        first = 0
        for block in read_blocks(self._files[unit.source], unit.span, last_end):
            records = _parse(block, fields)
            yield from records.chunks(first, rows)
            first += records.count


@dataclass(frozen=True, slots=True)
class _Field:
    """A column, and whether it is the model's. If not, it may be text of which what is no string is JSON."""

    column: Column
    is_needed: bool

    @property
    def _is_any(self) -> bool:
        return not self.is_needed and self.column.dtype == "string"

    def values(self, rows: Sequence[dict[str, Any]]) -> list[Any]:
        """Raises KeyError if the model needs the column and a row lacks it."""
        name = self.column.name
        if self.is_needed:
            return [row[name] for row in rows]
        values = [row.get(name) for row in rows]
        return [*map(_as_text, values)] if self._is_any else values

    def reason(self, error: ColumnValueError) -> str:
        """What to tell of a value that the column does not take."""
        owner = "the model takes" if self.is_needed else "the column has"
        return f"{error.found} where {owner} {error.expected}"


def last_end(data: bytes, is_last: bool) -> int:
    """Where the last line ends; 0 if none does."""
    return len(data) if is_last else data.rfind(b"\n") + 1


def _parse(block: Block, fields: Sequence[_Field]) -> Records:
    lines: list[bytes] = []
    rows: list[dict[str, Any]] = []
    if block.is_broken:
        bad = [BadRow(0, "", "a line without an end", shown(block.data))]
    else:
        lines = [line for line in block.data.splitlines() if line.strip()]
        rows, bad = _read_lines(lines, frozenset(field.column.name for field in fields if field.is_needed))
    arrays = {}
    faults: dict[int, tuple[str, str]] = {}
    for field in fields:
        name = field.column.name
        arrays[name], refused = array_of_values(field.values(rows), field.column)
        for row, error in refused.items():
            faults.setdefault(row, (name, field.reason(error)))
    numbers = np.delete(np.arange(len(rows) + len(bad)), [row.row for row in bad])
    return Records.of(arrays, numbers, bad, faults, lambda number: lines[number])


def _read_lines(lines: Sequence[bytes], needed: frozenset[str]) -> tuple[list[dict[str, Any]], list[BadRow]]:
    rows: list[dict[str, Any]] = []
    bad: list[BadRow] = []
    for number, line in enumerate(lines):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            reason = f"not valid JSON: {error}" if is_utf8(line) else NOT_UTF8
            bad.append(BadRow(number, "", reason, shown(line)))
            continue
        if type(row) is dict and needed <= row.keys():
            rows.append(row)
        else:
            bad.append(BadRow(number, *_what_is_missing(row, needed), shown(line)))
    return rows, bad


def _what_is_missing(row: Any, needed: frozenset[str]) -> tuple[str, str]:
    """A column and a reason."""
    if not isinstance(row, dict):
        return "", "no JSON object, of which NDJSON has one in each line"
    name = min(needed - row.keys())
    hint = suggestion([name], list(row))
    return name, f"there is no {name!r}" + (f"; {hint}" if hint else "")


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _head(sample: bytes) -> bytes:
    return BYTE_ORDER_MARK if sample.startswith(BYTE_ORDER_MARK) else b""


def _find_fields(file: TextFile, signature: Signature) -> dict[str, _Field]:
    """The columns of the file's first rows, and those of the model."""
    needed = {column.name: _Field(column, is_needed=True) for column in signature.columns}
    sample = read_start(file.path, file.start + SAMPLE_BYTES)[file.start :]
    kinds: dict[str, set[str]] = {}
    for line in sample[: last_end(sample, file.size <= file.start + SAMPLE_BYTES)].splitlines():
        for name, value in _object(line).items():
            kinds.setdefault(name, set()).add(_kind(value))
    kept = {
        name: _Field(Column(name, _dtype(found), nullable=True), is_needed=False) for name, found in kinds.items()
    }
    return kept | needed


def _object(line: bytes) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:  # it will be a bad row when its unit is read
        return {}
    return row if isinstance(row, dict) else {}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64" if value < 2**63 else "uint64"
    return "null" if value is None else {float: "float64"}.get(type(value), "string")


def _dtype(kinds: set[str]) -> str:
    kinds = kinds - {"null"}
    if kinds and kinds <= {"int64", "uint64", "float64"}:
        return next(kind for kind in ("float64", "uint64", "int64") if kind in kinds)
    return "bool" if kinds == {"bool"} else "string"


def _spans(file: TextFile, unit_bytes: int) -> Iterator[tuple[int, int]]:
    first = file.start
    with file.path.open("rb") as stream:
        while file.size - first > unit_bytes:
            stream.seek(first + unit_bytes - 1)
            while (piece := stream.readline(BLOCK_BYTES)) and not piece.endswith(b"\n"):
                pass
            yield first, stream.tell()
            first = stream.tell()
    if first < file.size or first == file.start:
        yield first, file.size
