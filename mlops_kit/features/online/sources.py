"""One source of features as the reader sees it: which keys to ask the store for, and what their values mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mlops_kit.errors import MissingColumnsError, StoreError
from mlops_kit.features.definition.feature_set import EventSource, FeatureSet, Field, KeyField, TableSource
from mlops_kit.features.keys import encode_key
from mlops_kit.features.layout import Layout, compile_layout
from mlops_kit.features.finishing import Finisher
from mlops_kit.features.online.columns import ColumnMaker, LookupFinisher, texts_of_words
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


@dataclass(frozen=True, slots=True)
class Part:
    """What one source gives to a batch of requests; every array has shape (rows,).

    `age_us`: since the key's newest event, or since the row holds; it means nothing where the key is missing.
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

    def look(self, value: Value | None) -> bool:
        """Take note of the record; whether values have another place now."""

    def space(self) -> str:
        """Where the values are. Raises StoreError if there are none."""

    def part(self, values: Sequence[bytes | None], ts: Array, columns: Columns) -> Part:
        """What the stored values of each row's key say as of each row's time. `columns` are the rows' own, {} if no
        row is an event itself.
        """


class EventsReader:
    """The state of windows."""

    def __init__(self, source: EventSource, feature_set: FeatureSet) -> None:
        self.name, self.key = source.name, source.key
        self.layout: Layout = compile_layout(source, feature_set.windows)
        self.record = (CHECKPOINT, source_key(self.layout))
        self._finisher = Finisher(feature_set.windows, self.layout)
        self._columns = ColumnMaker(self._finisher.features)
        self._seen, self._space = SourceRecord(), events_space(self.layout, "")

    def look(self, value: Value | None) -> bool:
        """Another generation of state is another place."""
        self._seen, before = decode_record(SourceRecord, value), self._space
        self._space = events_space(self.layout, self._seen.generation)
        return before != self._space

    def space(self) -> str:
        """A source without any event has no state, and is not wrong."""
        return self._space

    def part(self, values: Sequence[bytes | None], ts: Array, columns: Columns) -> Part:
        """As the kernel answers."""
        current, texts_of_current = self._current(columns)
        found = answer(self.layout, values, ts, current)
        done = self._finisher.finish(found.answers)
        texts = texts_of_words(done.words, done.is_valid, {**done.texts, **texts_of_current})
        is_too_old = found.is_too_old
        if self._seen.complete_since_us is not None:
            is_too_old = is_too_old | (ts < self._seen.complete_since_us)
        return Part(
            columns=self._columns.columns(done.words, done.is_valid, texts),
            is_missing=_is_none(values),
            is_too_old=is_too_old,
            age_us=ts - found.newest,
            applied=found.applied,
            newest_us=found.newest,
        )

    def _current(self, columns: Columns) -> tuple[Array | None, Mapping[int, str]]:
        """The words of the event that each row is, and their texts."""
        if not self.layout.has_current or not columns:
            return None, {}
        if missing := [name for name in self._needed if name not in columns]:
            raise MissingColumnsError(missing, columns)
        frame = pl.DataFrame([_series(name, columns[name]) for name in self._needed])
        return current_words(frame, self._source, self.layout)


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
        self._seen, self._space = TableRecord(), ""

    def look(self, value: Value | None) -> bool:
        """Another generation is another place."""
        self._seen, before = decode_record(TableRecord, value), self._space
        generation = self._seen.generation
        self._space = table_space(self.name, self._codec, generation) if generation else ""
        return before != self._space

    def space(self) -> str:
        """Raises StoreError if the table was never published: its keys would all seem to be missing."""
        if not self._space:
            why = f"the table {self.name!r} was never written, or the features take other columns of it now"
            raise StoreError("the store lacks a table of the features", why, "run mlkit features materialize")
        return self._space

    def part(self, values: Sequence[bytes | None], ts: Array, columns: Columns) -> Part:  # noqa: ARG002
        """The version that holds at each time."""
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
    kinds = [field.kind for field in key]
    rows = zip(*(columns[field.name].tolist() for field in key), strict=True)
    return [None if any(map(_is_missing, row)) else encode_key(row, kinds) for row in rows]


def _is_missing(value: object) -> bool:
    return value is None or value != value


def _is_none(values: Sequence[bytes | None]) -> Array:
    return np.array([value is None for value in values], bool)
