"""How latencies are spread: a histogram for each measurement, all over the same axis."""

from collections.abc import Sequence

from mlops_kit.bench.figures import seconds
from mlops_kit.bench.report.charts.drawing import SERIES, SIDE, WIDTH, drawing, label, row_labels, rule
from mlops_kit.bench.report.charts.scale import LogScale, log_scale
from mlops_kit.bench.report.markup import Element, element
from mlops_kit.bench.results import Distribution, Measurement

ROW, BARS, TOP, BOTTOM = 74, 44, 4, 30
TOLD = ("p50", "p90", "p99", "p99.9")


def latency_distributions(measurements: Sequence[tuple[int, Measurement]]) -> Element:
    """The number of the series, and a measurement that has latencies. Each is as high as its most frequent bin."""
    found = [(series, each, each.latency) for series, each in measurements if each.latency]
    scale = log_scale([edge for _, _, each in found for edge in _span(each)], SIDE, WIDTH - SIDE)
    height = TOP + ROW * len(found) + BOTTOM
    parts = _axis(scale, height)
    for row, (series, measurement, latency) in enumerate(found):
        top = TOP + ROW * row
        told = "   ".join(
            f"{name} {seconds(latency.percentiles[name].value)}" for name in TOLD if name in latency.percentiles
        )
        parts += row_labels(top + 14, measurement, told)
        parts += _bars(latency, series, scale, top + 20)
    return drawing(height, "Distribution of the latencies of each measurement", *parts)


def _span(latency: Distribution) -> tuple[float, float]:
    return latency.edges_s[0], latency.edges_s[-1]


def _axis(scale: LogScale, height: float) -> list[Element]:
    parts = []
    for tick in scale.ticks():
        x = scale.at(tick)
        parts += [rule(x, TOP, x, height - BOTTOM, "grid"), label(x, height - 10, seconds(tick), "middle")]
    return parts


def _bars(latency: Distribution, series: int, scale: LogScale, top: float) -> list[Element]:
    most = max(latency.counts, default=0) or 1
    base = top + BARS
    parts = [rule(SIDE, base, WIDTH - SIDE, base, "axis")]
    for low, high, count in zip(latency.edges_s, latency.edges_s[1:], latency.counts, strict=False):
        if count:
            # One request among many is what a stall looks like: it must be seen.
            tall = max(1.5, count / most * BARS)
            left, right = scale.at(low), scale.at(high)
            parts.append(
                element("rect", x=left, y=base - tall, width=max(1.0, right - left - 0.8), height=tall,
                        class_=f"area s{series % SERIES}")
            )  # fmt: skip
    for name in ("p50", "p99"):
        if name in latency.percentiles:
            x = scale.at(latency.percentiles[name].value)
            parts += [rule(x, top, x, base, "mark")]
    return parts
