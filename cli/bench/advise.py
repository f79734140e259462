"""`mlkit bench advise`: which mode pays for those who ask."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .. import console
from ..options import option
from .output import check_folders, print_document
from .quantities import parse_duration, parse_share

if TYPE_CHECKING:
    from mlops_kit.bench.advice.advise import Advice

UNMET = 1


def advise(
    result: str = typer.Argument(metavar="RESULT", help="What `mlkit bench --json` wrote; - for stdin."),
    entities: int = option(min=1, help="For how many predictions may be asked: customers, flights, …"),
    active_share: str = option(
        metavar="SHARE", help="How many of them show up between two refreshes: 0.02 or 2%."
    ),
    requests_per_active: float = option(1.0, min=1, help="How often each of those asks in that time."),
    refresh: str = option("24h", metavar="TIME", help="How long until batch predicts anew."),
    freshness: str = option("", metavar="TIME", help="How old a prediction may get. Default: --refresh."),
    latency_ms: float = option(100.0, min=0.001, help="Within which 99 % of requests must be answered."),
    utilisation: str = option(
        "50%", metavar="SHARE", help="How much of a server's capacity is used on average; batch uses all."
    ),
    price_per_hour: float | None = option(None, min=0, help="What a machine costs. Default: the bench's."),
    storage_price: float = option(0.1, min=0, help="What the store costs per gigabyte and month."),
    write_price: float = option(0.0, min=0, help="What the store charges per million rows written."),
    report: Path | None = option(None, metavar="FILE", help="Write the whole report, with this advice, as HTML."),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Say whether batch, online or a cache pays, where that changes, and how sure it is.

    Batch precomputes for everybody; online predicts when asked; a cache predicts when asked for the first time.
    Exits with 1 if nothing that was measured is fast and fresh enough.

    \b
    Example:
      mlkit bench advise bench.json --entities 1000000 --active-share 2% --requests-per-active 3
    """
    from dataclasses import replace

    from mlops_kit.bench.advice.advise import advise as find_advice
    from mlops_kit.bench.advice.workload import Workload
    from mlops_kit.bench.report.document import read_result

    check_folders(report)
    measured = read_result(result)
    if price_per_hour is not None:
        measured = replace(measured, price_per_hour=price_per_hour)
    workload = Workload(
        entities=entities,
        active_share=parse_share(active_share),
        requests_per_active=requests_per_active,
        refresh_s=parse_duration(refresh),
        freshness_s=parse_duration(freshness or refresh),
        latency_s=latency_ms / 1000,
        utilisation=parse_share(utilisation),
        storage_price=storage_price,
        write_price=write_price,
    )
    advice = find_advice(measured, workload)
    if report:
        from mlops_kit.bench.report.page import render_page

        report.write_text(render_page(measured, advice), encoding="utf-8")
    if json:
        print_document(advice)
    else:
        _show(advice)
    if advice.choice is None:
        raise typer.Exit(UNMET)


def _show(advice: "Advice") -> None:
    from rich.table import Table

    from mlops_kit.bench.advice import wording

    console.print_line(wording.verdict(advice))
    for reason in advice.close:
        console.print_line(f"It is close: {reason}.")
    console.print_line()
    options = Table(*wording.OPTION_HEADS, box=None)
    for each in advice.options:
        options.add_row(*wording.describe_option(each))
    console.table_console().print(options)
    console.print_line()
    console.print_line(wording.traffic(advice))
    console.print_line(wording.break_even(advice))
    console.print_line()
    for formula in wording.FORMULAS:
        console.print_line(f"  {formula}")
    inputs = Table("", "", "", box=None, show_header=False)
    for cells in wording.inputs(advice):
        inputs.add_row(*cells)
    console.table_console().print(inputs)
    for note in advice.notes:
        console.note(f"note: {note}")
