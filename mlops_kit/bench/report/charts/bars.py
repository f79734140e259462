"""Bars that lie: what each measurement spent its time on, and how much memory it took."""

from collections.abc import Sequence

from mlops_kit.bench.figures import percent, seconds, size
from mlops_kit.bench.report.charts.drawing import SERIES, SIDE, WIDTH, drawing, label, row_labels
from mlops_kit.bench.report.markup import Element, element
from mlops_kit.bench.results import Measurement

ROW, BAR = 46, 18
LETTER = 7.2
"""How wide a letter is, at most."""


def stage_split(measurements: Sequence[Measurement], stages: Sequence[str]) -> Element:
    """Shares of the mean latency, in the order of `stages`, which are the series."""
    parts: list[Element] = []
    for row, measurement in enumerate(measurements):
        top = ROW * row
        total = sum(max(0.0, spent) for spent in measurement.stages_s.values())
        parts += row_labels(top + 15, measurement, f"mean {seconds(total)}")
        parts += _segments(measurement, stages, total or 1.0, top + 21)
    return drawing(ROW * len(measurements), "Time of a request by stage", *parts)


def _segments(measurement: Measurement, stages: Sequence[str], total: float, top: float) -> list[Element]:
    parts, left = [], float(SIDE)
    for series, stage in enumerate(stages):
        # What is left of a difference of two clocks can be a little below nothing.
        spent = max(0.0, measurement.stages_s.get(stage, 0.0))
        width = spent / total * (WIDTH - 2 * SIDE)
        told = f"{stage}: {seconds(spent)}, {percent(spent / total)}"
        area = element("rect", element("title", told), x=left, y=top, width=width, height=BAR,
                       class_=f"area s{series % SERIES}")  # fmt: skip
        parts.append(area)
        text = seconds(spent)
        if len(text) * LETTER + 6 < width:
            parts.append(label(left + width / 2, top + 13.5, text, "middle", "inside"))
        left += width
    return parts


def memory_bars(measurements: Sequence[tuple[int, Measurement]]) -> Element:
    """The number of the series, and a measurement whose memory is known."""
    found = [(series, each, each.peak_memory_bytes or 0) for series, each in measurements]
    most = max(peak for _, _, peak in found) or 1
    parts: list[Element] = []
    for row, (series, measurement, peak) in enumerate(found):
        top = ROW * row
        parts += row_labels(top + 15, measurement, size(peak))
        wide = peak / most * (WIDTH - 2 * SIDE)
        parts.append(
            element("rect", x=SIDE, y=top + 21, width=wide, height=BAR, class_=f"area s{series % SERIES}")
        )
    return drawing(ROW * len(found), "Peak memory of each measurement", *parts)
