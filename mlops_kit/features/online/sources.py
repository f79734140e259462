"""One source of features as the reader sees it: which keys to ask the store for, and what their values mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import polars as pl

from mlops_kit.errors import InputError, MissingColumnsError, StoreError
from mlops_kit.features.admission import Refusals, judge_values
from mlops_kit.features.definition.feature_set import EventSource, FeatureSet, Field, KeyField, TableSource
from mlops_kit.features.finishing import Finished, Finisher
from mlops_kit.features.kernel.states import answer
from mlops_kit.features.keys import encode_key
from mlops_kit.features.layout import Layout, compile_layout
from mlops_kit.features.online.columns import ColumnMaker, LookupFinisher, texts_of_words
from mlops_kit.features.online.event_lines import typed_series
from mlops_kit.features.online.past import columns_in_use
from mlops_kit.features.online.records import (
    CHECKPOINT,
    CURRENT,
    SourceRecord,
    TableRecord,
    decode_record,
    events_space,
    source_key,
    table_key,
    table_space,
)
from mlops_kit.features.online.rows import ALWAYS, RowCodec
from mlops_kit.schema import Array, Columns
from mlops_kit.stores.interface import Value

Keys: TypeAlias = Sequence[bytes | None]
"""One for each row; None where it has none."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one source gives to a batch of requests; every array has shape (rows,).

    `age_us`: since the key's newest event, or since the row holds; it means nothing where it is negative or the
    key is missing.
    `applied` and `newest_us` are of event sources only.
    """

    columns: Mapping[str, Array]
    is_missing: Array
    is_too_old: Array
    age_us: Array
    applied: Array | None = None
    newest_us: Array | None = None


class Source(Protocol):
    """Events or a table. `record` is the address of what leads to the source's values."""

    name: str
    key: tuple[KeyField, ...]
    record: tuple[str, bytes]
    is_known: bool
    """Whether it has been found in the store."""

    def look(self, value: Value | None) -> bool:
        """Take note of the record; whether values have another place now."""

    def space(self) -> str:
        """Where the values are. Raises StoreError if there are none."""

    def part(self, keys: Keys, found: Mapping[bytes, bytes], ts: Array, columns: Columns) -> Part:
        """What the stored values of each row's key say as of each row's time. `columns` are the rows' own, {} if
        no row is an event itself.
        """


class EventsReader:
    """The state of windows."""

    def __init__(self, source: EventSource, feature_set: FeatureSet) -> None:
        self.name, self.key = source.name, source.key
        self.layout: Layout = compile_layout(source, feature_set.windows)
        self.record = (CHECKPOINT, source_key(self.layout))
        self._finisher = Finisher(feature_set.windows, self.layout)
        self._columns = ColumnMaker(self._finisher.features)
        self._source = source
        aside = {source.time, source.sequence, *(field.column for field in source.key)}
        kept = {*self.layout.columns}
        self._needed = [name for name in columns_in_use(source, self.layout) if name in kept or name not in aside]
        self._seen, self._space, self.is_known = SourceRecord(), events_space(self.layout, ""), False

    def look(self, value: Value | None) -> bool:
        """Another generation of state is another place."""
        self._seen, before = decode_record(SourceRecord, value), self._space
        self._space, self.is_known = events_space(self.layout, self._seen.generation), True
        return before != self._space

    def space(self) -> str:
        """A source without any event has no state, and is not wrong."""
        return self._space

    def part(self, keys: Keys, found: Mapping[bytes, bytes], ts: Array, columns: Columns) -> Part:
        """As the kernel answers; an event without a key is in no window, not even its own."""
        values = _values(keys, found)
        current, own_texts = self._current(columns)
        answered = answer(self.layout, values, ts, current)
        done = self._finisher.finish(answered.answers)
        if current is not None and None in keys:
            done = _emptied(done, self._finisher.empty(len(keys)), keys)
        texts = texts_of_words(done.words, done.is_valid, {**done.texts, **own_texts})
        is_too_old = answered.is_too_old
        if self._seen.complete_since_us is not None:
            is_too_old = is_too_old | (ts < self._seen.complete_since_us)
        return Part(
            columns=self._columns.columns(done.words, done.is_valid, texts),
            is_missing=_is_none(values),
            is_too_old=is_too_old,
            age_us=ts - answered.newest,
            applied=answered.applied,
            newest_us=answered.newest,
        )

    def _current(self, columns: Columns) -> tuple[Array | None, Mapping[int, str]]:
        """The words of the event that each row is, and their texts."""
        if not self.layout.has_current or not columns:
            return None, {}
        if missing := [name for name in self._needed if name not in columns]:
            raise MissingColumnsError(missing, columns)
        faults: dict[int, str] = {}
        kinds = {field.name: field.kind for field in self._source.fields}
        own = [typed_series(columns[name].tolist(), name, kinds[name], faults) for name in self._needed]
        frame = pl.DataFrame(own) if own else pl.DataFrame(height=len(next(iter(columns.values()))))
        refusals = Refusals(frame.height)
        words, texts = judge_values(frame, self._source, self.layout, refusals)
        for reason in (*faults.values(), *refusals.by_reason):
            raise InputError("a row is an event that cannot count", reason, "mend the row")
        return words, texts


class TableReader:
    """The rows of a table."""

    def __init__(self, source: TableSource, feature_set: FeatureSet) -> None:
        self.name, self.key = source.name, source.key
        mine = [feature for feature in feature_set.lookups if feature.source == source.name]
        fields = fields_in_use(source, feature_set)
        self._codec = RowCodec(fields)
        self.record = (CURRENT, table_key(source.name, self._codec))
        places = {field.name: place for place, field in enumerate(fields)}
        self._finisher = LookupFinisher(mine, [places[feature.column] for feature in mine])
        self._columns = ColumnMaker(mine)
        self._seen, self._space, self.is_known = TableRecord(), "", False

    def look(self, value: Value | None) -> bool:
        """Another generation is another place."""
        self._seen, before = decode_record(TableRecord, value), self._space
        generation = self._seen.generation
        self._space = table_space(self.name, self._codec, generation) if generation else ""
        self.is_known = bool(generation)
        return before != self._space

    def space(self) -> str:
        """Raises StoreError if the table was never published: its keys would all seem to be missing."""
        if not self._space:
            why = f"the table {self.name!r} was never written, or the features take other columns of it now"
            raise StoreError("the store lacks a table of the features", why, "run mlkit features materialize")
        return self._space

    def part(self, keys: Keys, found: Mapping[bytes, bytes], ts: Array, columns: Columns) -> Part:  # noqa: ARG002
        """The version that holds at each time."""
        values = _values(keys, found)
        rows = self._codec.decode(values, ts)
        since = np.where(rows.valid_from == ALWAYS, self._seen.made_us, rows.valid_from)
        return Part(
            columns=self._columns.columns(*self._finisher.finish(rows.words, rows.is_valid, rows.texts)),
            is_missing=~rows.is_found,
            is_too_old=rows.is_too_old,
            age_us=ts - since,
        )


def fields_in_use(source: TableSource, feature_set: FeatureSet) -> tuple[Field, ...]:
    """The columns of a table that features take, by name: those are stored."""
    used = {feature.column for feature in feature_set.lookups if feature.source == source.name}
    return tuple(sorted((field for field in source.fields if field.name in used), key=lambda field: field.name))


def keys_of_rows(key: Sequence[KeyField], columns: Columns) -> list[bytes | None]:
    """The key of each row in the store's form; None where a part of it is missing.

    Raises MissingColumnsError, and what `encode_key` raises for a value of another type.
    """
    if missing := [field.name for field in key if field.name not in columns]:
        raise MissingColumnsError(missing, columns)
    kinds, names = [field.kind for field in key], [field.name for field in key]
    rows = zip(*(columns[field.name].tolist() for field in key), strict=True)
    return [None if any(map(_is_missing, row)) else encode_key(row, kinds, names) for row in rows]


def key_of_row(key: Sequence[KeyField], row: Mapping[str, Any]) -> bytes | None:
    """The same of one row of Python values."""
    if missing := [field.name for field in key if field.name not in row]:
        raise MissingColumnsError(missing, row)
    values = [row[field.name] for field in key]
    if any(map(_is_missing, values)):
        return None
    return encode_key(values, [field.kind for field in key], [field.name for field in key])


def _is_missing(value: object) -> bool:
    return value is None or value != value


def _values(keys: Keys, found: Mapping[bytes, bytes]) -> list[bytes | None]:
    return [None if key is None else found.get(key) for key in keys]


def _emptied(done: Finished, empty: Finished, keys: Keys) -> Finished:
    has_key = np.array([key is not None for key in keys], bool)[:, None]
    words = np.where(has_key, done.words, empty.words)
    return Finished(words, np.where(has_key, done.is_valid, empty.is_valid), done.texts)


def _is_none(values: Sequence[bytes | None]) -> Array:
    return np.array([value is None for value in values], bool)
