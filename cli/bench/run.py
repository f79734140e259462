"""`mlkit bench BUNDLE`: how fast each mode is, and whether all of them give the same answers."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .. import console
from ..options import environment_password, option, refuse_passwords
from .output import check_folders, write_result

if TYPE_CHECKING:
    from mlops_kit.bench.job import Notify
    from mlops_kit.bench.results import BenchResult

COMMAND = (sys.executable, "-c", "from mlops_kit_cli.main import run; run()")
DIFFERENT = 1


def bench(
    context: typer.Context,
    bundle: str = typer.Argument(
        metavar="BUNDLE", help="A bundle's directory, a .mlkit archive, or an MLflow URI."
    ),
    data: Path = option(
        metavar="ROWS", help="A data file, or a folder of Parquet files, with the model's columns."
    ),
    mode: list[str] = option(
        [], help="Modes, repeated or separated by commas: batch, lookup, online, or for instance online-grpc."
    ),
    scenario: list[str] = option([], help="Scenarios, likewise: single-stream, multi-stream, server, offline."),
    slo_ms: float = option(100.0, min=0.1, help="The latency that 99 % of requests have to meet."),
    duration: float = option(10.0, min=1, help="Seconds for each scenario of each mode; searching takes more."),
    quick: bool = option(
        False,
        "--quick",
        help="A first picture in about half a minute, without multi-stream.",
    ),
    price_per_hour: float = option(0.10, min=0, help="What this machine costs, in whatever money."),
    redis: str = option("", metavar="URL", help="A Redis or Valkey server, to look up stored answers there, too."),
    report: Path | None = option(None, metavar="FILE", help="Write one page of HTML with charts."),
    json: Path | None = option(None, metavar="FILE", help="Write all that was found; - for stdout."),
    markdown: bool = option(False, "--markdown", help="Print Markdown instead of a table."),
) -> None:
    """Measure every mode of a model on your data, and whether all give the same answers.

    Requests come from a process of its own, which is checked against a server that does nothing.
    Latency counts from when a request was due. Exits with 1 if two modes answer differently.

    \b
    Example:
      mlkit bench bundles/eta --data december.parquet --report report.html --json bench.json
    """
    refuse_passwords(context, "redis")
    from mlops_kit.bench.job import BenchJob
    from mlops_kit.bench.run import run_bench

    job = BenchJob(
        bundle=bundle,
        data=data,
        command=COMMAND,
        modes=_names(mode),
        scenarios=_names(scenario),
        slo_s=slo_ms / 1000,
        duration_s=duration,
        price_per_hour=price_per_hour,
        is_quick=quick,
        redis=redis,
        password=environment_password(),
    )
    check_folders(json, report)
    result = run_bench(job, _progress())
    write_result(result, json, report, as_markdown=markdown)
    if any(result.parity.mismatches.values()):
        _complain(result)
        raise typer.Exit(DIFFERENT)


def _progress() -> "Notify":
    """Lines on stderr, each with how long it has taken so far."""
    started = time.monotonic()
    return lambda text: console.note(f"{time.monotonic() - started:5.0f} s  {text}")


def _names(texts: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def _complain(result: "BenchResult") -> None:
    parity = result.parity
    counts = ", ".join(f"{count:,} of {mode}" for mode, count in parity.mismatches.items() if count)
    what = f"modes do not answer as the model does: of {parity.rows:,} rows, {counts} differ"
    console.print_error(what, parity.first, "tell the authors of mlkit: all modes should agree bit for bit")
