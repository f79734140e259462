"""Events that clients send, for those who have no broker: into the state of every model that takes them."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from mlops_kit.errors import InputError, StoreError
from mlops_kit.features.definition.feature_set import EventSource, FeatureSet
from mlops_kit.features.kernel.states import answer
from mlops_kit.features.layout import Layout, compile_layout
from mlops_kit.features.online.event_lines import EventBatch, read_event_lines, read_event_values
from mlops_kit.features.online.grouping import Grouped, group_events
from mlops_kit.features.online.past import columns_in_use, sequence_of
from mlops_kit.features.online.pushing import TOO_LATE, Pusher
from mlops_kit.features.online.records import events_space
from mlops_kit.schema import Array
from mlops_kit.stores.interface import Store

MOST_ATTEMPTS: Final = 500
LONGEST_PAUSE_S: Final = 0.02
NO_NUMBER: Final = -1


@dataclass(frozen=True, slots=True)
class Target:
    """A source as some models define it, and the layout of its state."""

    source: EventSource
    layout: Layout


@dataclass(slots=True)
class Received:
    """What became of events: `refused` has the reason for each row that is in no state, `numbers` the sequence
    number of the others.
    """

    numbers: Array
    refused: dict[int, str]
    repeated: int = 0

    @property
    def applied(self) -> int:
        """How many are in a state now that were not before."""
        return len(self.numbers) - len(self.refused) - self.repeated

    def to_json(self, source: str) -> dict[str, Any]:
        """The answer."""
        numbers = [
            None if row in self.refused else int(number) for row, number in enumerate(self.numbers.tolist())
        ]
        return {
            "source": source,
            "events": len(numbers),
            "applied": self.applied,
            "repeated": self.repeated,
            "refused": [{"row": row, "reason": reason} for row, reason in sorted(self.refused.items())],
            "sequence": numbers,
        }


def find_targets(source: str, features: Sequence[FeatureSet]) -> list[Target]:
    """Every different state that the events of a source go into."""
    found: dict[str, Target] = {}
    for one in features:
        for events in one.events:
            if events.name == source and any(window.source == source for window in one.windows):
                layout = compile_layout(events, one.windows)
                found.setdefault(layout.digest, Target(events, layout))
    return [*found.values()]


def receive_events(body: bytes, targets: Sequence[Target], store: Store) -> Received:
    """Apply the events of a body: a JSON object, an array of them, or one in each line. What is no event is
    refused, and costs the others nothing.

    Returns once the store has them. Raises InputError for a body of none, and StoreError, after which some may be
    applied.
    """
    done = [_receive(body, target, store) for target in targets]
    first = done[0]
    for other in done[1:]:
        first.refused |= other.refused
    return first


def _receive(body: bytes, target: Target, store: Store) -> Received:
    source, layout = target.source, target.layout
    batch = _read(body, source, columns_in_use(source, layout))
    if source.sequence:
        numbers = sequence_of(batch.frame, source, 0)
        pushed = Pusher(source, layout, store).push(batch.frame, numbers, batch.faults)
        return Received(numbers, {dead.row: dead.reason for dead in pushed.dead}, pushed.repeated)
    return _Numbering(target, store).push(batch)


def _read(body: bytes, source: EventSource, columns: Sequence[str]) -> EventBatch:
    lines = [line for line in body.split(b"\n") if line.strip()]
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if len(lines) < 2:
            raise InputError("the events are not valid JSON", str(error)) from error
        return read_event_lines(lines, source, columns)
    values = document if isinstance(document, list) else [document]
    if not values:
        raise InputError("there is no event in the body", fix="send an object, an array of them, or NDJSON")
    return read_event_values(values, source, columns)


class _Numbering:
    """Pushes events that have no number of their own: they get the next ones that the store does not have."""

    def __init__(self, target: Target, store: Store) -> None:
        self._source, self._layout, self._store = target.source, target.layout, store
        self._pusher = Pusher(target.source, target.layout, store)
        self._generation = self._pusher.generation

    def push(self, batch: EventBatch) -> Received:
        """Where others took a number of the same key meanwhile, the event gets another one."""
        frame = batch.frame
        grouped, refused = self._group(frame, np.arange(len(frame)), batch.faults)
        numbers = np.full(len(frame), NO_NUMBER)
        done = Received(numbers, {row: reason for reason, rows in refused.items() for row in rows.tolist()})
        left, first = np.sort(grouped.rows), self._pusher.acknowledged + 1
        for _ in range(MOST_ATTEMPTS):
            if not left.size:
                return done
            numbers[left] = first + np.arange(len(left))
            pushed = self._pusher.push(frame[left], numbers[left])
            done.refused |= {int(left[dead.row]): TOO_LATE for dead in pushed.dead}
            left = left[pushed.is_repeated]
            if left.size:
                # Two that pause equally long would meet again and again.
                time.sleep(random.uniform(0, LONGEST_PAUSE_S))  # noqa: S311
                first = max(self._pusher.acknowledged, self._applied(frame[left])) + 1
        raise StoreError("events cannot be written to the store", "others write the same keys all the time")

    def _applied(self, frame: pl.DataFrame) -> int:
        """The highest number that the state of any of these events' keys has."""
        grouped, _ = self._group(frame, np.arange(len(frame)), {})
        space = events_space(self._layout, self._generation)
        values = self._store.read([(space, key) for key in grouped.keys])
        states = [value.data if value else None for value in values]
        return int(answer(self._layout, states, np.zeros(len(states), np.int64)).applied.max(initial=-1))

    def _group(
        self, frame: pl.DataFrame, seq: Array, faults: Mapping[int, str]
    ) -> tuple[Grouped, dict[str, Array]]:
        return group_events(frame, self._source, self._layout, seq, faults)
