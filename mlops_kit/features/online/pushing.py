"""Events into the window state of their keys: in a store that others write to as well, or in memory."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec
import polars as pl

from mlops_kit.errors import StoreError
from mlops_kit.features.definition.feature_set import EventSource
from mlops_kit.features.kernel.states import apply_events
from mlops_kit.features.layout import Layout
from mlops_kit.features.online.grouping import NO_FAULTS, group_events
from mlops_kit.features.online.records import (
    CHECKPOINT,
    SourceRecord,
    change_record,
    events_space,
    read_record,
    source_key,
)
from mlops_kit.features.online.states import Fates, StateWriter
from mlops_kit.schema import Array
from mlops_kit.stores.interface import Store

TOO_LATE: Final = "too late to matter for any question that the state can still answer"


@dataclass(frozen=True, slots=True)
class Dead:
    """A row that is in no state, and why."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a batch. `dead`: the rows that are in no state, in order, and why: those refused, and the
    `late` ones. `is_repeated`: of each row, whether its number was applied before. `last`: the highest sequence
    number, which is acknowledged together with all before it.
    """

    events: int
    applied: int
    repeated: int
    late: int
    dead: Sequence[Dead]
    last: int
    is_repeated: Array


Bury: TypeAlias = Callable[[Sequence[Dead]], None]


def _forget(_dead: Sequence[Dead]) -> None:
    """Nobody keeps them."""


def push_to_memory(
    source: EventSource, layout: Layout, states: MutableMapping[bytes, bytes], frame: pl.DataFrame, seq: Array
) -> Pushed:
    """Apply events to states that nobody else changes."""
    grouped, refused = group_events(frame, source, layout, seq)
    fates = Fates(len(frame))
    before = [states.get(key) for key in grouped.keys]
    applied = apply_events(layout, before, grouped.events, grouped.texts)
    for key, state in zip(grouped.keys, applied.states, strict=True):
        if state is not None:
            states[key] = state
    fates.note(grouped.rows, applied.is_repeated, applied.is_late)
    return outcome(refused, fates, seq)


class Pusher:
    """Pushes the events of one source to a store.

    The events of a key must come in the order of their sequence numbers. Any number of pushers may run, also
    with the same events; whatever comes a second time changes nothing.
    """

    def __init__(self, source: EventSource, layout: Layout, store: Store) -> None:
        """Raises StoreError if history is being applied, before which nothing may be pushed."""
        self._source, self._layout, self._store = source, layout, store
        self._address = (CHECKPOINT, source_key(layout))
        record = read_record(SourceRecord, store, *self._address)
        self.generation = record.generation
        """Of the state that events go into."""
        self._check(record)
        space = events_space(layout, record.generation)
        self._states = StateWriter(layout, store, space, self._address, self._check)
        self.acknowledged = record.applied
        """The highest sequence number that the store has, from history or from a push; -1 for none."""

    def push(
        self, frame: pl.DataFrame, seq: Array, faults: Mapping[int, str] = NO_FAULTS, bury: Bury = _forget
    ) -> Pushed:
        """Apply events, acknowledge them, and say what became of them.

        - `faults`: rows that are known to be no events.
        - `bury`: is given the rows that are in no state, before any state is written that takes them for known;
          maybe more than once.

        Raises StoreError, after which the same events may be pushed again, unless the state was built anew
        meanwhile.
        """
        grouped, refused = group_events(frame, self._source, self._layout, seq, faults)
        bury(_dead(refused))
        fates = Fates(len(frame))
        self._states.apply(grouped, fates, lambda late: bury(_dead({TOO_LATE: late})))
        pushed = outcome(refused, fates, seq)
        if pushed.last >= 0:
            self._acknowledge(int(seq[seq >= 0].min()), pushed.last)
        return pushed

    def _acknowledge(self, first: int, last: int) -> None:
        def change(record: SourceRecord) -> SourceRecord:
            self._check(record)
            lowest = first if record.pushed_first < 0 else min(first, record.pushed_first)
            return msgspec.structs.replace(record, pushed=max(last, record.pushed), pushed_first=lowest)

        self.acknowledged = change_record(SourceRecord, self._store, self._address, change).applied

    def _check(self, record: SourceRecord) -> None:
        name = self._source.name
        if record.is_filling:
            raise StoreError(
                f"the history of {name!r} is being applied, and nothing can be pushed before that is done",
                "a state takes the events of a key in their order",
                "wait for mlkit features materialize, or run it again if it was stopped",
            )
        if record.generation != self.generation:
            raise StoreError(
                f"the state of {name!r} was built anew from history meanwhile",
                f"it has the events up to number {record.from_history}",
                f"push again, from number {record.from_history + 1}",
            )


def outcome(refused: Mapping[str, Array], fates: Fates, seq: Array) -> Pushed:
    """What to tell of a batch."""
    late = fates.is_late.nonzero()[0]
    repeated = int(fates.is_repeated.sum())
    dead = _dead({**refused, TOO_LATE: late})
    return Pushed(
        events=len(seq),
        applied=len(seq) - repeated - len(dead),
        repeated=repeated,
        late=len(late),
        dead=dead,
        last=int(seq.max(initial=-1)),
        is_repeated=fates.is_repeated,
    )


def _dead(rows: Mapping[str, Array]) -> list[Dead]:
    dead = [Dead(row, reason) for reason, found in rows.items() for row in found.tolist()]
    return sorted(dead, key=lambda one: one.row)
