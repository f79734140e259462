"""Which events count, and what the kernel gets of them: one function for history, stream and requests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
import pyarrow as pa

from mlops_kit.errors import MissingColumnsError
from mlops_kit.features.definition.expressions import Condition, parse_condition
from mlops_kit.features.definition.feature_set import EventSource, Field, Kind
from mlops_kit.features.kernel.windows import text_word
from mlops_kit.features.keys import encode_keys
from mlops_kit.features.layout import Layout
from mlops_kit.features.values import LAST_US, normal_values, times_us
from mlops_kit.schema import Array

FIRST_CONDITION = 32
"""The bit of an event's first word from which on those of the conditions are."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The events that count, in the order given: as `kernel.windows.Events`, but not yet sorted by key.

    - `keys`, `codes`: the different keys, and the place of each event's key among them.
    - `texts`: every text that the words stand for, if any feature gives a text back.
    - `refused`: reason → numbers of the rows left out for it; each row once, for the first reason.
    """

    keys: Sequence[bytes]
    codes: Array
    ts: Array
    seq: Array
    words: Array
    texts: Mapping[int, str]
    refused: Mapping[str, Array]


class Refusals:
    """The rows of a frame that are left out, and why."""

    def __init__(self, rows: int) -> None:
        self.is_refused = np.zeros(rows, np.bool_)
        self.by_reason: dict[str, Array] = {}

    def add(self, reason: str, rows: pl.Series) -> None:
        """Leave out the rows that are true, unless they are left out already."""
        if rows.any():
            new = np.flatnonzero(rows.fill_null(False).to_numpy() & ~self.is_refused)
            self.is_refused[new] = True
            if len(new):
                self.by_reason[reason] = np.concatenate([self.by_reason.get(reason, new[:0]), new])


def admit(frame: pl.DataFrame, source: EventSource, layout: Layout, seq: Array) -> Admitted:
    """Events of a frame with the source's columns; `seq` has the sequence number of each row.

    Raises MissingColumnsError; InputError for a column of another type than its definition says.
    """
    refusals = Refusals(frame.height)
    ts = judge_times(frame, source, refusals)
    words, texts = judge_values(frame, source, layout, refusals)
    rows = np.flatnonzero(~refusals.is_refused)
    if len(rows) < frame.height:
        frame, ts, seq, words = frame[rows], ts[rows], seq[rows], words[rows]
    codes, keys = encode_keys(frame, [field.column for field in source.key], [field.kind for field in source.key])
    return Admitted(keys, codes, ts, seq, words, texts, refusals.by_reason)


def judge_times(frame: pl.DataFrame, source: EventSource, refusals: Refusals) -> Array:
    """The time of each event, int64; those without a time or a key that features could use are refused."""
    columns = [source.time, *(field.column for field in source.key)]
    if missing := [name for name in columns if name not in frame.columns]:
        raise MissingColumnsError(missing, frame.columns)
    times = times_us(frame[source.time])
    if times.null_count():
        refusals.add(f"{source.time!r} is null, or no time", times.is_null())
    refusals.add(f"{source.time!r} is before 1970", times < 0)
    refusals.add(f"{source.time!r} is after the year 9999", times > LAST_US)
    for field in source.key:
        if frame[field.column].null_count():
            refusals.add(f"the key {field.column!r} is null", frame[field.column].is_null())
    return times.fill_null(0).to_numpy()


def judge_sequence(frame: pl.DataFrame, source: EventSource, first_row: int, refusals: Refusals) -> Array:
    """The sequence number of each event: the source's column, or else the number of its row."""
    if not source.sequence:
        return np.arange(first_row, first_row + frame.height)
    numbers, unfit = normal_values(frame[source.sequence], "int64")
    refusals.add(
        f"{source.sequence!r} is null, or no whole number from 0 on", numbers.is_null() | unfit | (numbers < 0)
    )
    return numbers.fill_null(0).to_numpy()


def value_columns(source: EventSource, layout: Layout) -> set[str]:
    """The columns that features use, or conditions look at."""
    conditions = _conditions(source.fields, layout.conditions)
    return {*layout.columns, *(name for condition in conditions for name in condition.columns)}


def judge_values(
    frame: pl.DataFrame, source: EventSource, layout: Layout, refusals: Refusals
) -> tuple[Array, dict[int, str]]:
    """The words of each event, shape (rows, layout.words), and their texts; infinite values are refused."""
    conditions = _conditions(source.fields, layout.conditions)
    used = value_columns(source, layout)
    kinds = {field.name: field.kind for field in source.fields if field.name in used}
    if missing := [name for name in kinds if name not in frame.columns]:
        raise MissingColumnsError(missing, frame.columns)
    columns = {name: _judged(frame[name], kind, refusals) for name, kind in kinds.items()}
    words = np.zeros((frame.height, layout.words), np.int64)
    bits = words[:, 0]
    texts: dict[int, str] = {}
    for place, name in enumerate(layout.columns):
        values = columns[name]
        words[:, 1 + place] = _words(values, kinds[name], texts)
        bits |= values.is_not_null().to_numpy().astype(np.int64) << place
    if conditions:
        normal = pl.DataFrame(list(columns.values()))
        for place, condition in enumerate(conditions):
            bits |= condition.mask(normal).astype(np.int64) << (FIRST_CONDITION + place)
    return words, texts if layout.keeps_texts else {}


def _judged(series: pl.Series, kind: Kind, refusals: Refusals) -> pl.Series:
    values, unfit = normal_values(series, kind)
    refusals.add(f"{series.name!r} is no whole number of 64 bits", unfit)
    if kind == "float64":
        refusals.add(f"{series.name!r} is infinite", values.is_infinite())
    return values


def _words(values: pl.Series, kind: Kind, texts: dict[int, str]) -> Array:
    match kind:
        case "float64":
            floats: Array = values.fill_null(0.0).to_numpy()
            return floats.view(np.int64)
        case "string":
            return _text_words(values, texts)
        case _:
            whole: Array = values.cast(pl.Int64).fill_null(0).to_numpy()
            return whole


def _text_words(values: pl.Series, texts: dict[int, str]) -> Array:
    encoded = values.to_arrow().dictionary_encode()
    found = encoded.dictionary.to_pylist()
    words = np.array([*map(text_word, found), 0], np.int64)
    texts.update(zip(words.tolist(), found, strict=False))
    rows: Array = pl.Series(encoded.indices.cast(pa.int64())).fill_null(len(found)).to_numpy()
    return words[rows]


@lru_cache(maxsize=64)
def _conditions(fields: tuple[Field, ...], texts: tuple[str, ...]) -> tuple[Condition, ...]:
    """Parsed once, not with each batch of a stream."""
    kinds = {field.name: field.kind for field in fields}
    return tuple(parse_condition(text, kinds) for text in texts)
