"""`mlkit bench compare`: what has become better or worse."""

from typing import TYPE_CHECKING

import typer

from .. import console
from ..options import option
from .output import print_document
from .quantities import parse_share

if TYPE_CHECKING:
    from mlops_kit.bench.comparison.compare import Comparison

WORSE = 1


def compare(
    before: str = typer.Argument(metavar="BEFORE", help="What `mlkit bench --json` wrote, or a folder of them."),
    after: str = typer.Argument(metavar="AFTER", help="The same of what is to be judged."),
    threshold: str = option("5%", metavar="SHARE", help="Smaller differences do not count."),
    force: bool = option(False, "--force", help="Compare results of different machines, too."),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Compare two results of `mlkit bench`, or two folders of results that were measured in turns.

    A difference counts if its whole 95 % interval is beyond the threshold. Exits with 1 if something is worse, and
    with 2 if the results are of different machines.

    \b
    Example:
      mlkit bench compare before.json after.json --threshold 10%
    """
    from mlops_kit.bench.comparison.compare import compare_results
    from mlops_kit.bench.report.document import read_results

    comparison = compare_results(
        read_results(before), read_results(after), parse_share(threshold), with_other_machines=force
    )
    if json:
        print_document(comparison)
    else:
        _show(comparison)
    if comparison.regressions:
        raise typer.Exit(WORSE)


def _show(comparison: "Comparison") -> None:
    from rich.table import Table

    from mlops_kit.bench.comparison.wording import HEADS, describe, summary

    table = Table(*HEADS, box=None)
    for difference in comparison.differences:
        table.add_row(*describe(difference))
    console.table_console().print(table)
    console.print_line()
    console.print_line(summary(comparison))
    for note in comparison.notes:
        console.note(f"note: {note}")
