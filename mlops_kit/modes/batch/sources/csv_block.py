"""The records of a piece of CSV: all at once where nothing is wrong with it, else one by one."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

from mlops_kit.modes.batch.sources.interface import BadRow
from mlops_kit.modes.batch.sources.quoting import LINE_ENDS, RECORD, is_regular, record_ends
from mlops_kit.modes.batch.sources.text import NOT_UTF8, Block, Records, is_utf8, shown
from mlops_kit.modes.batch.sources.typed_values import array_of_texts
from mlops_kit.schema import Array, Column

NEVER_CLOSED = "a quote is never closed"


@dataclass(frozen=True, slots=True)
class _Texts:
    """The fields of the good records, and their numbers; where in the data each record is, good or bad."""

    columns: Mapping[str, pa.Array]
    numbers: Array
    bad: Sequence[BadRow]
    starts: Sequence[int] | Array
    ends: Sequence[int] | Array


def parse_block(block: Block, names: Sequence[str], wanted: Sequence[Column]) -> Records:
    """`names` is the header. The rows get the `wanted` columns only."""
    wanted_names = [column.name for column in wanted]
    if block.is_broken:
        texts = _Texts(_columns([], names, wanted_names), np.arange(0), [_broken(block)], [], [])
    else:
        texts = _read_at_once(block.data, names, wanted_names) or _read_one_by_one(block.data, names, wanted_names)
    arrays = {}
    faults: dict[int, tuple[str, str]] = {}
    for column in wanted:
        arrays[column.name], refused = array_of_texts(texts.columns[column.name], column)
        for row, error in refused.items():
            faults.setdefault(row, (column.name, f"{error.found} where the model takes {error.expected}"))

    def record_of(number: int) -> bytes:
        return block.data[texts.starts[number] : texts.ends[number]]

    return Records.of(arrays, texts.numbers, texts.bad, faults, record_of)


def _broken(block: Block) -> BadRow:
    return BadRow(0, "", NEVER_CLOSED, shown(block.data))


def _read_at_once(data: bytes, names: Sequence[str], wanted: Sequence[str]) -> _Texts | None:
    """None unless Arrow reads these records as Python's csv does."""
    ends = record_ends(data)
    starts = np.concatenate([[0], ends[:-1]])
    is_empty = np.isin(np.frombuffer(data, np.uint8)[starts], list(LINE_ENDS))
    too_long = int((ends - starts).max()) > csv.field_size_limit()
    if too_long or not is_regular(data) or not is_utf8(data):
        return None
    try:
        table = read_csv(
            io.BytesIO(data),
            ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=_numbered(names)),
            ParseOptions(newlines_in_values=True),
            ConvertOptions(
                column_types=dict.fromkeys(_numbered(names), pa.string()),
                include_columns=[str(names.index(name)) for name in wanted],
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:  # some record has more fields than the header, or fewer
        return None
    starts, ends = starts[~is_empty], ends[~is_empty]
    if table.num_rows != len(starts):
        return None
    # Its one block of bytes became one chunk.
    columns = {name: column.chunk(0) for name, column in zip(wanted, table.columns, strict=True)}
    return _Texts(columns, np.arange(len(starts)), (), starts, ends)


def _read_one_by_one(data: bytes, names: Sequence[str], wanted: Sequence[str]) -> _Texts:
    starts: list[int] = []
    ends: list[int] = []
    numbers: list[int] = []
    rows: list[list[str]] = []
    bad: list[BadRow] = []
    position = 0
    while position < len(data):
        end, fields, reason = _read_record(data, position, len(names))
        if data[position] not in LINE_ENDS:
            if reason:
                bad.append(BadRow(len(starts), "", reason, shown(data[position:end])))
            else:
                numbers.append(len(starts))
                rows.append(fields)
            starts.append(position)
            ends.append(end)
        position = end
    return _Texts(_columns(rows, names, wanted), np.array(numbers, np.int64), bad, starts, ends)


def _read_record(data: bytes, position: int, width: int) -> tuple[int, list[str], str]:
    """Where the record at `position` ends, its fields, and what is wrong with it."""
    match = RECORD.match(data, position)
    record = data[position : match.end() if match else len(data)]
    fields: list[str] = []
    reason = "" if match else NEVER_CLOSED
    try:
        fields = next(csv.reader([record.decode()], strict=True)) if match else []
    except UnicodeDecodeError:
        reason = NOT_UTF8
    except csv.Error as error:
        reason = f"not valid CSV: {error}"
    if match is None or (reason and not is_regular(record)):
        # A quote that is out of place has swallowed the lines below, which may well be fine.
        record = record[: record.find(b"\n") + 1 or len(record)]
    if not reason and len(fields) != width:
        reason = f"{len(fields)} fields where the header has {width}"
    return position + len(record), fields, reason


def _columns(rows: Sequence[Sequence[str]], names: Sequence[str], wanted: Sequence[str]) -> dict[str, pa.Array]:
    return {name: _column([row[names.index(name)] or None for row in rows]) for name in wanted}


def _column(texts: list[str | None]) -> pa.Array:
    return pl.Series(texts, dtype=pl.String).to_arrow().cast(pa.string())


def _numbered(names: Sequence[str]) -> list[str]:
    """Names that differ even where those of the header do not."""
    return [str(index) for index in range(len(names))]
