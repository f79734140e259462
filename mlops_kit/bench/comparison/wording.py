"""A comparison in words."""

import math
from collections import Counter

from mlops_kit.bench.comparison.compare import Comparison, Difference
from mlops_kit.bench.comparison.significance import BETTER, SAME, UNCLEAR, WORSE
from mlops_kit.bench.figures import figure, percent, seconds, size

HEADS = ("mode", "scenario", "of", "before", "after", "change", "interval", "verdict")


def describe(difference: Difference) -> tuple[str, ...]:
    """Cells."""
    change = difference.change
    told = {"rate": lambda rate: f"{figure(rate)}/s", "memory": size}.get(difference.metric, seconds)
    has_interval = change.low is not None and change.high is not None
    return (
        difference.mode,
        difference.scenario,
        difference.metric,
        told(change.before),
        told(change.after),
        _signed(change.value),
        f"{_signed(change.low or 0.0)} to {_signed(change.high or 0.0)}" if has_interval else "measured once",
        change.verdict,
    )


def summary(comparison: Comparison) -> str:
    """How many of each verdict, beyond which threshold."""
    counts = Counter(difference.change.verdict for difference in comparison.differences)
    words = [f"{counts[verdict]} {verdict}" for verdict in (WORSE, BETTER, SAME, UNCLEAR) if counts[verdict]]
    told = f"Beyond {percent(comparison.threshold)}: {', '.join(words)}."
    return f"{told} Measure more often to tell what is unclear." if counts[UNCLEAR] else told


def _signed(share: float) -> str:
    if math.isinf(share):
        return "from nothing"
    return f"{'+' if share > 0 else ''}{percent(share)}"
