"""The table of modes: a row of cells for each measurement, the same in every form of the report."""

from mlops_kit.bench.figures import figure, seconds, size
from mlops_kit.bench.results import BenchResult, Measurement

HEADS = ("mode", "scenario", "rate", "95 % interval", "p50", "p90", "p99", "failed", "memory", "cost per million")
PERCENTILES = ("p50", "p90", "p99")
NOTHING = "–"


def measurement_cells(measurement: Measurement, price_per_hour: float) -> tuple[str, ...]:
    """One for each of HEADS. A percentile that was not measured often enough is not there."""
    rate, memory = measurement.rate, measurement.peak_memory_bytes
    unit = "rows/s" if measurement.scenario == "offline" else "requests/s"
    found = measurement.latency.percentiles if measurement.latency else {}
    cost = cost_per_million(measurement, price_per_hour)
    return (
        measurement.mode,
        measurement.scenario,
        f"{figure(rate.value)} {unit}",
        f"{figure(rate.low)} to {figure(rate.high)}" if len(rate.samples) > 1 else NOTHING,
        *(seconds(found[name].value) if name in found else NOTHING for name in PERCENTILES),
        f"{sum(measurement.errors.values()):,}" if unit == "requests/s" else NOTHING,
        NOTHING if memory is None else size(memory),
        NOTHING if cost is None else figure(cost),
    )


def cost_per_million(measurement: Measurement, price_per_hour: float) -> float | None:
    """Of a million predictions or look-ups on a machine that does nothing else, all the time. None where the
    scenario does not use the machine as it can.
    """
    if measurement.scenario not in ("offline", "server") or measurement.rate.value <= 0:
        return None
    return price_per_hour / 3600 / measurement.rate.value * 1e6


def describe_parity(result: BenchResult) -> str:
    """Whether all modes answered alike."""
    parity = result.parity
    wrong = {mode: count for mode, count in parity.mismatches.items() if count}
    if not parity.modes:
        return "Answers were not compared."
    if not wrong:
        named = {1: "The one mode answers", 2: "Both modes answer"}
        modes = named.get(len(parity.modes), f"All {len(parity.modes)} modes answer")
        return f"{modes} as the model does, bit for bit, for {parity.rows:,} rows."
    counts = ", ".join(f"{count:,} of {mode}" for mode, count in wrong.items())
    return f"Modes do not answer as the model does: of {parity.rows:,} rows, {counts} differ. {parity.first}"
