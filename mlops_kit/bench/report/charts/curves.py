"""How late answers are, at each rate that was offered."""

import math
from collections.abc import Sequence
from itertools import groupby
from statistics import median

from mlops_kit.bench.figures import figure, seconds
from mlops_kit.bench.report.charts.drawing import SERIES, WIDTH, drawing, label, marker, rule
from mlops_kit.bench.report.charts.scale import LogScale, log_scale
from mlops_kit.bench.report.markup import Element, element
from mlops_kit.bench.results import Measurement, Point

HEIGHT = 380
LEFT, RIGHT, TOP, BOTTOM = 66, 28, 26, 46
NEAR = 1.08
"""Rates that differ by less are one place of a line: each repetition tries others."""


def throughput_latency(measurements: Sequence[tuple[int, Measurement]], slo_s: float) -> Element:
    """99th percentiles, one line for each measurement and its series. There must be a point with one."""
    known = [(series, [point for point in each.points if point.p99_s]) for series, each in measurements]
    rates = log_scale([point.offered for _, points in known for point in points], LEFT, WIDTH - RIGHT)
    late = [point.p99_s for _, points in known for point in points if point.p99_s]
    latencies = log_scale([*late, slo_s], HEIGHT - BOTTOM, TOP)
    return drawing(
        HEIGHT,
        "99th percentile of the latency at each rate that was offered",
        *_axes(rates, latencies),
        rule(LEFT, latencies.at(slo_s), WIDTH - RIGHT, latencies.at(slo_s), "objective"),
        label(WIDTH - RIGHT, latencies.at(slo_s) - 6, f"objective {seconds(slo_s)}", "end", "strong"),
        *(part for series, points in known for part in _series(series, points, rates, latencies)),
    )


def _axes(rates: LogScale, latencies: LogScale) -> list[Element]:
    parts = []
    for tick in latencies.ticks():
        y = latencies.at(tick)
        parts += [rule(LEFT, y, WIDTH - RIGHT, y, "grid"), label(LEFT - 8, y + 4, seconds(tick), "end")]
    for tick in rates.ticks():
        x = rates.at(tick)
        parts += [rule(x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 5, "axis")]
        parts += [label(x, HEIGHT - BOTTOM + 19, figure(tick), "middle")]
    parts.append(rule(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis"))
    parts.append(label(WIDTH - RIGHT, HEIGHT - 6, "requests/s offered", "end", "strong"))
    parts.append(label(2, 12, "99th percentile", "start", "strong"))
    return parts


def _series(series: int, points: Sequence[Point], rates: LogScale, latencies: LogScale) -> list[Element]:
    places = [
        (rates.at(point.offered), latencies.at(point.p99_s), point) for point in points if point.p99_s is not None
    ]
    groups = groupby(
        sorted(places, key=lambda place: place[2].offered),
        key=lambda place: round(math.log(place[2].offered) / math.log(NEAR)),
    )
    corners = []
    for _, group in groups:
        together = list(group)
        corners.append((median(x for x, _, _ in together), median(y for _, y, _ in together)))
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) if corners else ""
    return [
        element("path", d=line, class_=f"line s{series % SERIES}"),
        *(marker(x, y, series, is_filled=point.is_within_slo) for x, y, point in places),
    ]
