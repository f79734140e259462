"""`mlkit bench`: how fast each mode is, and whether all of them give the same answers."""

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mlops_kit.errors import UsageError

from . import console
from .options import environment_password, option, refuse_passwords

if TYPE_CHECKING:
    from mlops_kit.bench.job import Notify
    from mlops_kit.bench.results import BenchResult, Measurement

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
    quick: bool = option(False, "--quick", help="A first picture in under half a minute, instead of --duration."),
    price_per_hour: float = option(0.10, min=0, help="What this machine costs, in whatever money."),
    redis: str = option("", metavar="URL", help="A Redis or Valkey server, to look up stored answers there, too."),
    json: Path | None = option(None, metavar="FILE", help="Write all that was found; - for stdout."),
) -> None:
    """Measure every mode of a model on your data, and whether all give the same answers.

    Requests come from a process of its own, which is checked against a server that does nothing.
    Latency counts from when a request was due. Exits with 1 if two modes answer differently.

    \b
    Example:
      mlkit bench bundles/eta --data data/2013-12.parquet --quick
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
    if json and str(json) != "-" and not json.absolute().parent.is_dir():
        raise UsageError(f"{json}: its folder is not there", fix="make it first")
    result = run_bench(job, _progress())
    _write(result, json)
    if any(result.parity.mismatches.values()):
        _complain(result)
        raise typer.Exit(DIFFERENT)


def _progress() -> "Notify":
    """Lines on stderr, each with how long it has taken so far."""
    started = time.monotonic()
    return lambda text: console.note(f"{time.monotonic() - started:5.0f} s  {text}")


def _names(texts: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def _write(result: "BenchResult", json: Path | None) -> None:
    import msgspec

    document = msgspec.to_builtins(result)
    if json and str(json) == "-":
        console.print_json(document)
        return
    if json:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    _show(result)


def _show(result: "BenchResult") -> None:
    from rich.table import Table

    table = Table("mode", "scenario", "rate", "95 % interval", "p50", "p90", "p99", "failed", "memory", box=None)
    for measurement in result.measurements:
        table.add_row(*_cells(measurement))
    console.table_console().print(table)
    for note, cases in _notes(result).items():
        about = "all" if len(cases) == len(result.measurements) else "; ".join(cases)
        console.note(f"note: {note} ({about})")


def _cells(measurement: "Measurement") -> tuple[str, ...]:
    rate, latency = measurement.rate, measurement.latency
    unit = "rows/s" if measurement.scenario == "offline" else "requests/s"
    percentiles = latency.percentiles if latency else {}
    times = (percentiles[name].value if name in percentiles else None for name in ("p50", "p90", "p99"))
    memory = measurement.peak_memory_bytes
    return (
        measurement.mode,
        measurement.scenario,
        f"{_figure(rate.value)} {unit}",
        f"{_figure(rate.low)} to {_figure(rate.high)}" if len(rate.samples) > 1 else "",
        *("" if time is None else f"{_figure(time * 1000)} ms" for time in times),
        f"{sum(measurement.errors.values()):,}",
        console.human_bytes(memory) if memory else "",
    )


def _figure(value: float) -> str:
    """Three digits that count.

    >>> _figure(16_732.4), _figure(0.12345), _figure(0)
    ('16,700', '0.123', '0')
    """
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{round(value, digits):,.{max(0, digits)}f}"


def _notes(result: "BenchResult") -> dict[str, list[str]]:
    notes: dict[str, list[str]] = {}
    for measurement in result.measurements:
        for note in measurement.notes:
            notes.setdefault(note, []).append(f"{measurement.mode}, {measurement.scenario}")
    return notes


def _complain(result: "BenchResult") -> None:
    parity = result.parity
    counts = ", ".join(f"{count:,} of {mode}" for mode, count in parity.mismatches.items() if count)
    what = f"modes do not answer as the model does: of {parity.rows:,} rows, {counts} differ"
    console.print_error(what, parity.first, "tell the authors of mlkit: all modes should agree bit for bit")
