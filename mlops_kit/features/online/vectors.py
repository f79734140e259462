"""Feature vectors from a store: everything that a batch of requests needs, in one round trip."""

import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from mlops_kit.errors import InputError, StoreError
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.online.sources import (
    EventsReader,
    Keys,
    Part,
    Source,
    TableReader,
    key_of_row,
    keys_of_rows,
)
from mlops_kit.schema import Array, Columns
from mlops_kit.stores.interface import Reads, Store, Value

LOOK_S: Final = 1.0
"""How old a reader's knowledge of which generation is current may be; it looks in the same round trip as it
reads.
"""

AHEAD: Final = StoreError(
    "a key has an event from the future",
    "by now the store has forgotten what is older than that and its lateness",
    "look at the clock of whoever sent it; mlkit features materialize --rebuild goes by history alone",
)

Found: TypeAlias = Sequence[Mapping[bytes, bytes] | StoreError]
"""For each source, the values of the keys that it knows, or why they cannot be found."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """The features of a batch of rows, each as of its time.

    - `values`: feature → shape (rows,). A float is float64 with NaN where there is no value; another column with
      such rows is an object array with None.
    - `is_missing`: source → the rows whose key it does not know, which have defaults.
    - `age_us`: source → how long before the row's time the key's newest event was, or its row began to hold;
      negative, which is no age, where a table without times was made after that.
    - `applied`, `newest_us`: event source → the sequence number of the newest event by arrival, and the time of
      the newest by time; -1 for a key without events.
    - `is_too_old`: rows whose time lies before what the store can answer; their values mean nothing.
    """

    ts: Array
    values: Mapping[str, Array]
    is_missing: Mapping[str, Array]
    age_us: Mapping[str, Array]
    applied: Mapping[str, Array]
    newest_us: Mapping[str, Array]
    is_too_old: Array

    def refuse_too_old(self) -> None:
        """Raises InputError if a row's time is too far back for the store."""
        if self.is_too_old.any():
            why = "it lies more than the lateness before the key's newest event, or before the store was filled"
            raise InputError("the store cannot answer as of that time", why, "use mlkit features join, on history")


class FeatureReader:
    """Reads vectors. Threads may share it. A table that was never written fails every read, unless the reader
    `serves_absent` ones: their keys are then missing.
    """

    def __init__(
        self,
        feature_set: FeatureSet,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
        *,
        serves_absent: bool = False,
    ) -> None:
        used = {feature.source for feature in feature_set.features}
        self._sources: list[Source] = [
            *(EventsReader(source, feature_set) for source in feature_set.events if source.name in used),
            *(TableReader(source, feature_set) for source in feature_set.tables if source.name in used),
        ]
        self.sources = [source.name for source in self._sources]
        """The names of those that features are taken from."""
        self._keys = [*dict.fromkeys(source.key for source in self._sources)]
        self._records = [source.record for source in self._sources]
        self._names = [feature.name for feature in feature_set.features]
        self._store = store
        self._clock = clock
        self._looked = 0.0
        self._faults: dict[str, StoreError] = {}
        self._serves_absent = serves_absent

    def read(self, columns: Columns, ts: Array, *, with_current: bool = True) -> Vectors:
        """The vector of each row, from the key columns of the rows and each one's time.

        Features that include the current event take it from the other columns, unless they are to do without it.
        Raises MissingColumnsError or InputError for rows that do not fit the definition, and StoreError.
        """
        keys = self.encode(columns)
        return self.make(keys, self.fetch(keys), columns if with_current else {}, ts)

    def encode(self, columns: Columns) -> list[Keys]:
        """Each source's key of each row. Raises MissingColumnsError and InputError."""
        encoded = {key: keys_of_rows(key, columns) for key in self._keys}
        return [encoded[source.key] for source in self._sources]

    def encode_row(self, row: Mapping[str, Any]) -> list[Keys]:
        """The same of one row of Python values."""
        encoded = {key: key_of_row(key, row) for key in self._keys}
        return [(encoded[source.key],) for source in self._sources]

    def fetch(self, keys: Sequence[Keys]) -> Found:
        """What the store has of each source's keys, in one round trip. Raises StoreError if it has no answer."""
        steps = self._fetch(keys)
        try:
            addresses = next(steps)
            while True:
                addresses = steps.send(self._store.read(addresses))
        except StopIteration as last:
            found: Found = last.value
            return found

    async def fetch_on_loop(self, keys: Sequence[Keys], reads: Reads) -> Found:
        """The same on an event loop."""
        steps = self._fetch(keys)
        try:
            addresses = next(steps)
            while True:
                addresses = steps.send(await reads.read(addresses))
        except StopIteration as last:
            found: Found = last.value
            return found

    def _fetch(self, keys: Sequence[Keys]) -> Generator[Sequence[tuple[str, bytes]], list[Value | None], Found]:
        """Yields what is to be read, and is sent the values."""
        now = self._clock()
        may_wait = self._serves_absent and now - self._looked < LOOK_S
        if not may_wait and not all(source.is_known for source in self._sources):
            self._look((yield self._records), now)
        while True:
            # What is not current any more may be dropped, so what was read there does not count.
            records = self._records if now - self._looked >= LOOK_S else []
            addresses = list(records)
            wanted: list[list[bytes]] = []
            for source, of_source in zip(self._sources, keys, strict=True):
                space = self._space(source)
                wanted.append([*dict.fromkeys(key for key in of_source if key is not None)] if space else [])
                addresses += [(space, key) for key in wanted[-1]]
            found = yield addresses
            if not records or not self._look(found[: len(records)], now):
                return self._by_key(wanted, found[len(records) :])

    def make(
        self, keys: Sequence[Keys], found: Found, columns: Columns, ts: Array, without: Collection[str] = ()
    ) -> Vectors:
        """The vector of each row from what the store has. `columns` are the rows' own, {} if no row is an event
        itself. The features of sources that are to be done `without` have their defaults.

        Raises MissingColumnsError, InputError, and StoreError for what is damaged.
        """
        parts = {
            source.name: source.part(of_rows, {}, ts, {})
            if source.name in without
            else _part(source, of_rows, values, ts, columns)
            for source, of_rows, values in zip(self._sources, keys, found, strict=True)
        }
        return self._joined(parts, ts, without)

    def unusable(self, keys: Sequence[Keys], found: Found, ts: Array) -> dict[str, StoreError]:
        """The sources of which the store has nothing for these keys and times that can be used, and why."""
        errors: dict[str, StoreError] = {}
        for source, of_rows, values in zip(self._sources, keys, found, strict=True):
            try:
                if _part(source, of_rows, values, ts, {}).is_too_old.any():
                    errors[source.name] = AHEAD
            except StoreError as error:
                errors[source.name] = error
        return errors

    def absent(self) -> list[str]:
        """The sources that the store has nothing of. Raises StoreError."""
        records = self._store.read(self._records)
        return [name for name, record in zip(self.sources, records, strict=True) if record is None]

    def _space(self, source: Source) -> str:
        if source.name in self._faults:
            return ""
        try:
            return source.space()
        except StoreError:
            if not self._serves_absent:
                raise
            return ""

    def _look(self, values: Sequence[Value | None], now: float) -> bool:
        """Take note of what is current; whether anything changed."""
        self._looked = now
        changes = [self._look_at(source, value) for source, value in zip(self._sources, values, strict=True)]
        return any(changes)

    def _look_at(self, source: Source, value: Value | None) -> bool:
        """One that is damaged is no matter of the other sources."""
        was_damaged = self._faults.pop(source.name, None) is not None
        try:
            return source.look(value) or was_damaged
        except StoreError as error:
            self._faults[source.name] = error
            return False

    def _by_key(self, wanted: Sequence[Sequence[bytes]], found: Sequence[Value | None]) -> Found:
        by_source: list[Mapping[bytes, bytes] | StoreError] = []
        first = 0
        for source, keys in zip(self._sources, wanted, strict=True):
            values = zip(keys, found[first : first + len(keys)], strict=True)
            mine = {key: value.data for key, value in values if value is not None}
            by_source.append(self._faults.get(source.name, mine))
            first += len(keys)
        return by_source

    def _joined(self, parts: Mapping[str, Part], ts: Array, without: Collection[str]) -> Vectors:
        found: dict[str, Array] = {}
        for part in parts.values():
            found.update(part.columns)
        events = {name: part for name, part in parts.items() if part.applied is not None}
        too_old = [part.is_too_old for name, part in parts.items() if name not in without]
        return Vectors(
            ts=ts,
            values={name: found[name] for name in self._names},
            is_missing={name: part.is_missing for name, part in parts.items()},
            age_us={name: part.age_us for name, part in parts.items()},
            applied={name: part.applied for name, part in events.items() if part.applied is not None},
            newest_us={name: part.newest_us for name, part in events.items() if part.newest_us is not None},
            is_too_old=np.logical_or.reduce(too_old) if too_old else np.zeros(len(ts), bool),
        )


def _part(
    source: Source, keys: Keys, values: Mapping[bytes, bytes] | StoreError, ts: Array, columns: Columns
) -> Part:
    if isinstance(values, StoreError):
        # Several batches may have the same one.
        raise values.with_traceback(None)
    return source.part(keys, values, ts, columns)
