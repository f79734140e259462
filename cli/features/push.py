"""`mlkit features push`: events into the state of windows."""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mlops_kit.errors import UsageError, listed, suggestion

from .. import console
from ..options import option, refuse_passwords
from .definition import STORE, need_kernel, opened_store, read_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlops_kit.features.definition.feature_set import EventSource, FeatureSet
    from mlops_kit.features.online.dead_letters import Letter
    from mlops_kit.features.online.push_run import PushTotals

LOST = 1


def push(
    context: typer.Context,
    events: Path = typer.Argument(Path("-"), metavar="FILE", help="NDJSON or Parquet; - for stdin."),
    features: str = option(help="A bundle with features, or the Python file that defines them."),
    source: str = option(help="Whose events they are."),
    store: str = STORE,
    first_sequence: int | None = option(
        None, min=0, help="The first event's number, if they have none. Default: one more than the store has."
    ),
    dead_letter: Path | None = option(None, help="Where events go that cannot count, as NDJSON, with the reason."),
    batch: int = option(10_000, min=1, help="Events at a time, at most."),
    json: bool = option(False, "--json", help="Print a line of JSON for each batch."),
) -> None:
    """Apply events to the state of their keys, and print the number up to which they are safe.

    Events are numbered in their source. Whatever is pushed twice under the same number counts once, so
    after a crash push again from the number after the last one printed, or from any before it. Exits
    with 1 if an event is refused and there is no --dead-letter to keep it.

    \b
    Example:
      mlkit features push events.ndjson --features features.py \\
        --source departures --store sqlite:///features.db
    """
    refuse_passwords(context, "store")
    need_kernel("push")
    from mlops_kit.features.layout import compile_layout
    from mlops_kit.features.online.dead_letters import DeadLetters
    from mlops_kit.features.online.event_files import open_events, read_events
    from mlops_kit.features.online.past import columns_in_use
    from mlops_kit.features.online.push_run import push_batches
    from mlops_kit.features.online.pushing import Pusher

    definition = read_features(features)
    found = _source(definition, source)
    if found.sequence and first_sequence is not None:
        why = f"the events of {source!r} have their number in {found.sequence!r}"
        raise UsageError("--first-sequence is for events without a number", why, "leave it out")
    layout = compile_layout(found, definition.windows)
    with ExitStack() as stack:
        opened = stack.enter_context(opened_store(store))
        stream = stack.enter_context(open_events(events))
        pusher = Pusher(found, layout, opened)
        first = pusher.acknowledged + 1 if first_sequence is None else first_sequence
        if not found.sequence:
            console.note(f"the first of these events is number {first}")
        unkept = _Unkept()
        bury = stack.enter_context(closing(DeadLetters(dead_letter))).bury if dead_letter else unkept.bury
        batches = read_events(stream, found, columns_in_use(found, layout), batch)
        totals = push_batches(pusher, found, batches, first, bury, _reporter(json=json))
    _show(totals, unkept.reason, json=json)
    if totals.refused and not dead_letter:
        raise typer.Exit(LOST)


class _Unkept:
    """Letters that there is no file for, but for the first reason."""

    reason = ""

    def bury(self, letters: "Iterable[Letter]") -> None:
        for letter in letters:
            self.reason = self.reason or letter["reason"]


def _reporter(*, json: bool) -> "Callable[[PushTotals], None]":
    def on_batch(totals: "PushTotals") -> None:
        if json:
            _print_json_line(totals)
        else:
            console.print_line(str(totals.acknowledged))
        console.flush()

    return on_batch


def _source(features: "FeatureSet", name: str) -> "EventSource":
    names = [source.name for source in features.events]
    if name not in names:
        fix = suggestion([name], names) or "name one of them"
        raise UsageError(f"there is no source of events {name!r}", f"there are {listed(names)}", fix)
    return features.events[names.index(name)]


def _print_json_line(totals: "PushTotals") -> None:
    import orjson

    console.print_line(orjson.dumps(totals).decode())


def _show(totals: "PushTotals", unkept: str, *, json: bool) -> None:
    others = {"known before": totals.repeated, "too late": totals.late, "refused": totals.refused}
    aside = "".join(f", {count:,} {why}" for why, count in others.items() if count)
    if not json:
        console.note(f"{totals.applied:,} of {totals.events:,} events applied{aside}")
    if unkept:
        console.note(f"the first of those that do not count: {unkept}; --dead-letter FILE keeps them all")
