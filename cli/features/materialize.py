"""`mlkit features materialize`: history and tables into a store."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from .. import console
from ..options import option, refuse_passwords
from .definition import DEFINITION, STORE, need_kernel, opened_store, parse_time, read_features, show_time

if TYPE_CHECKING:
    from mlops_kit.features.online.filling import Filled
    from mlops_kit.features.online.materializing import Materialized


def materialize(
    context: typer.Context,
    features: str = DEFINITION,
    store: str = STORE,
    as_of: str = option(
        "", help="Fill the store as it would have been then. Default: now, with all that there is."
    ),
    rebuild: bool = option(False, "--rebuild", help="Apply all of the history to a new state, then switch to it."),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Fill a store with the state of windows, from histories, and with the rows of tables.

    Run it again for what has been added since: it goes on from there. Readers see a table's new rows
    all at once. Events pushed meanwhile are safe, and count once.

    \b
    Example:
      mlkit features materialize features.py --store sqlite:///features.db
    """
    refuse_passwords(context, "store")
    need_kernel("materialize")
    from mlops_kit.features.online.materializing import MaterializeJob, materialize_features

    job = MaterializeJob(read_features(features), parse_time(as_of), is_end=bool(as_of), is_anew=rebuild)
    with opened_store(store) as opened, console.progress_bar("materializing", None) as (progress, task):
        done = materialize_features(job, opened, lambda rows: progress.advance(task, rows))
    if json:
        console.print_json({**asdict(done), "as_of": show_time(job.as_of_us)})
    else:
        _show(done)


def _show(done: "Materialized") -> None:
    for table in done.tables:
        console.print_line(f"{table.source}: {table.keys:,} keys" + ("" if table.is_new else ", as before"))
        _note_refused(table.source, table.refused)
    for filled in done.events:
        console.print_line(_summary(filled))
        _note_refused(filled.source, filled.refused)
        if filled.lost_to is not None:
            console.note(
                f"{filled.source}: events up to number {filled.lost_to} had been pushed, and the history ends at "
                f"{filled.last}; push them again, from {filled.last + 1} on"
            )


def _summary(filled: "Filled") -> str:
    reach = f"; up to number {filled.last}" if filled.last >= 0 else ""
    if not filled.rows:
        return f"{filled.source}: nothing new{reach}"
    others = {"pushed before": filled.repeated, "too old to matter": filled.left_out, "too late": filled.late}
    aside = "".join(f", {count:,} {why}" for why, count in others.items() if count)
    return f"{filled.source}: {filled.applied:,} of {filled.rows:,} events applied{aside}{reach}"


def _note_refused(source: str, refused: dict[str, int]) -> None:
    for reason, count in refused.items():
        console.note(f"{source}: {count:,} left out, because {reason}")
