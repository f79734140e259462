"""A source's history into the state of its keys: on from where the last run ended, or all of it into a new
state.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.features.definition.feature_set import EventSource, WindowFeature
from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.grouping import group_events
from mlops_kit.features.online.past import Past, PastEvents
from mlops_kit.features.online.records import (
    CHECKPOINT,
    HistoryRecord,
    Retired,
    SourceRecord,
    change_record,
    drop_unused,
    events_space,
    history_key,
    name_generation,
    now_us,
    read_record,
    source_key,
)
from mlops_kit.features.online.states import Fates, StateWriter
from mlops_kit.stores.interface import Store


def _ignore(_rows: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Filling:
    """What is wanted. Questions from `as_of_us` on are to be answered; with `is_end`, history ends there: before
    the first event, as they arrived, that is not before that time. `is_anew`: all of it, into a new state.
    `on_rows` is told how many more rows are done.
    """

    as_of_us: int
    is_end: bool = False
    is_anew: bool = False
    on_rows: Callable[[int], None] = _ignore


@dataclass(slots=True)
class Filled:
    """What became of a history. `rows`: those looked at; `left_out`: too old to matter to the questions wanted;
    `refused`: reason → rows. `last`: the highest sequence number that history is done with. `lost_to`: up to
    which number events had been pushed that are in neither.
    """

    source: str
    rows: int = 0
    applied: int = 0
    repeated: int = 0
    late: int = 0
    left_out: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    last: int = -1
    lost_to: int | None = None


def fill_state(source: EventSource, features: Sequence[WindowFeature], store: Store, filling: Filling) -> Filled:
    """Apply the source's history, as far as it is not applied yet.

    Raises UsageError if the history was changed, or events were pushed that come after some of it.
    """
    run = _Run(source, features, store, filling)
    for batch in run.batches():
        run.apply(batch)
    return run.finish()


class _Run:
    """One run of it."""

    def __init__(
        self,
        source: EventSource,
        features: Sequence[WindowFeature],
        store: Store,
        filling: Filling,
    ) -> None:
        self._source, self._store, self._filling = source, store, filling
        self._layout = layout = compile_layout(source, features)
        self._address = (CHECKPOINT, source_key(layout))
        before = read_record(SourceRecord, store, *self._address)
        self._generation = name_generation() if filling.is_anew else before.generation
        self._past = Past(source, layout)
        self._files = (CHECKPOINT, history_key(layout, self._generation))
        self._done = read_record(HistoryRecord, store, *self._files)
        self._past.refuse_changed(self._done)
        space = events_space(layout, self._generation)
        self._writer = StateWriter(layout, store, space, self._address, self._check)
        reach = max((one.window_us + one.hop_us for one in features if one.source == source.name), default=0)
        self._complete_us = filling.as_of_us - source.lateness_us
        self._since_us = self._complete_us - reach
        self._filled = Filled(source.name, last=-1 if filling.is_anew else before.from_history)
        self._has_begun = False

    def batches(self) -> Iterator[PastEvents]:
        """The rows that are not applied yet, up to the end that is wanted."""
        for batch in self._past.batches(self._done.rows, self._since_us):
            if self._filling.is_end:
                is_after = (batch.ts >= self._filling.as_of_us).fill_null(False)
                if is_after.any():
                    yield batch.until(is_after.arg_max() or 0)
                    return
            yield batch

    def apply(self, batch: PastEvents) -> None:
        """Apply a batch, then say so in the store: if the run ends in between, it is applied once more, to no
        effect.
        """
        rows, filled = len(batch.frame), self._filled
        if rows and not self._has_begun:
            self._begin(int(batch.seq.min()))
        grouped, refused = group_events(batch.frame, self._source, self._layout, batch.seq)
        fates = Fates(rows)
        self._writer.apply(grouped, fates)
        looked_at = batch.end - self._done.rows
        for reason, places in refused.items():
            filled.refused[reason] = filled.refused.get(reason, 0) + len(places)
        filled.rows += looked_at
        filled.left_out += looked_at - rows
        filled.repeated += int(fates.is_repeated.sum())
        filled.late += int(fates.is_late.sum())
        filled.applied += len(grouped.rows) - int((fates.is_repeated | fates.is_late).sum())
        filled.last = max(filled.last, int(batch.seq.max(initial=-1)))
        if not self._source.sequence:
            # Also of rows that were not even read, so that what is pushed next gets the number after them.
            filled.last = max(filled.last, batch.end - 1)
        self._done = self._past.record(batch.end)
        if not self._filling.is_anew:
            self._change(lambda record: self._filled_record(record, is_filling=record.is_filling))
        change_record(HistoryRecord, self._store, self._files, lambda _: self._done)
        self._filling.on_rows(looked_at)

    def finish(self) -> Filled:
        """Let readers see a new state, and events be pushed."""
        if self._filling.is_anew:
            record = self._change(self._switched)
        else:
            record = self._change(lambda record: self._filled_record(record, is_filling=False))
        retired = drop_unused(self._store, events_space(self._layout, "") + "@", record.generation, record.retired)
        self._change(lambda record: msgspec.structs.replace(record, retired=retired))
        return self._filled

    def _begin(self, first: int) -> None:
        """No event may be pushed before history that its key's state lacks."""

        def change(record: SourceRecord) -> SourceRecord:
            self._check(record)
            if record.pushed < 0:
                return msgspec.structs.replace(record, is_filling=True)
            if first < record.pushed_first:
                raise UsageError(
                    f"events were pushed to {self._source.name!r} that come after this part of its history",
                    f"a state takes the events of a key in their order; from number {record.pushed_first} on they "
                    f"were pushed, and {first} is to be applied now",
                    "add --rebuild, which fills a new state from history and then switches to it",
                )
            return record

        self._has_begun = True
        if not self._filling.is_anew:
            self._change(change)

    def _check(self, record: SourceRecord) -> None:
        if not self._filling.is_anew and record.generation != self._generation:
            what = f"the state of {self._source.name!r} was built anew by another run meanwhile"
            raise StoreError(what, fix="run mlkit features materialize again")

    def _change(self, change: Callable[[SourceRecord], SourceRecord]) -> SourceRecord:
        return change_record(SourceRecord, self._store, self._address, change)

    def _filled_record(self, record: SourceRecord, *, is_filling: bool) -> SourceRecord:
        self._check(record)
        return msgspec.structs.replace(
            record,
            from_history=max(record.from_history, self._filled.last),
            is_filling=is_filling,
            complete_since_us=self._complete_since(record.complete_since_us),
        )

    def _switched(self, record: SourceRecord) -> SourceRecord:
        if record.pushed > self._filled.last:
            self._filled.lost_to = record.pushed
        old = Retired(events_space(self._layout, record.generation), now_us())
        return SourceRecord(
            generation=self._generation,
            from_history=self._filled.last,
            complete_since_us=self._complete_since(None),
            retired=(*record.retired, old),
        )

    def _complete_since(self, before: int | None) -> int | None:
        if not self._filled.left_out:
            return before
        return self._complete_us if before is None else max(before, self._complete_us)
