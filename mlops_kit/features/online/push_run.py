"""A whole stream of events into a store, batch by batch, each acknowledged before the next."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mlops_kit.features.definition.feature_set import EventSource
from mlops_kit.features.online.dead_letters import Letter
from mlops_kit.features.online.event_lines import EventBatch
from mlops_kit.features.online.past import sequence_of
from mlops_kit.features.online.pushing import Bury, Dead, Pusher
from mlops_kit.schema import Array


@dataclass(slots=True)
class PushTotals:
    """What became of the events up to now. `acknowledged`: the sequence number up to which nothing need be pushed
    again.
    """

    acknowledged: int
    events: int = 0
    applied: int = 0
    repeated: int = 0
    late: int = 0
    refused: int = 0


def push_batches(
    pusher: Pusher,
    source: EventSource,
    batches: Iterable[EventBatch],
    first: int,
    bury: Callable[[Iterable[Letter]], None],
    on_batch: Callable[[PushTotals], None],
) -> PushTotals:
    """Push every batch. Events without a number of their own are numbered from `first` on. `bury` is given the
    events that are in no state, as `Pusher.push` does, before the batch is acknowledged to `on_batch`. Raises what
    that raises.
    """
    totals = PushTotals(pusher.acknowledged)
    for batch in batches:
        seq = sequence_of(batch.frame, source, first)
        pushed = pusher.push(batch.frame, seq, batch.faults, _burial(bury, source, batch, seq))
        first += len(batch.frame)
        totals.acknowledged = max(pushed.last, totals.acknowledged)
        totals.events += pushed.events
        totals.applied += pushed.applied
        totals.repeated += pushed.repeated
        totals.late += pushed.late
        totals.refused += len(pushed.dead) - pushed.late
        on_batch(totals)
    return totals


def _burial(bury: Callable[[Iterable[Letter]], None], source: EventSource, batch: EventBatch, seq: Array) -> Bury:
    def bury_rows(dead: Sequence[Dead]) -> None:
        bury(_letter(source, batch, one, int(seq[one.row])) for one in dead)

    return bury_rows


def _letter(source: EventSource, batch: EventBatch, dead: Dead, sequence: int) -> Letter:
    return {
        "source": source.name,
        "sequence": sequence if sequence >= 0 else None,
        "reason": dead.reason,
        "event": batch.original(dead.row),
    }
