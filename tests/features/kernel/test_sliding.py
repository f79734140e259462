"""Many events and many questions of one key, in windows that overlap, against lists."""

import math

import numpy as np
import pytest

from mlops_kit.features.definition.feature_set import Aggregation, EventSource, Field, KeyField, WindowFeature
from mlops_kit.features.kernel.windows import Events, Questions, window_values
from mlops_kit.features.layout import compile_layout

SOURCE = EventSource("log", (KeyField("k", "k", "int64"),), "t", (Field("x", "float64"),))
AGGREGATIONS: list[Aggregation] = ["min", "max", "sum", "count", "mean"]
WINDOWS = (3, 20, 100, 700)
SHAPES = {
    "falling for a long time, then rising": lambda rng, n: np.abs(np.arange(n) % 97 - 80.0),
    "at random": lambda rng, n: rng.normal(size=n).round(2),
    "too far apart for sums of 128 bits": lambda rng, n: rng.normal(size=n) * 10.0 ** rng.integers(-60, 60, n),
}


def expected(values, aggregation):
    if aggregation == "count":
        return len(values)
    if not len(values):
        return None
    total = math.fsum(values)
    return {"min": min(values), "max": max(values), "sum": total, "mean": total / len(values)}[aggregation]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_window_is_that_of_a_list(shape):
    rng = np.random.default_rng(0)
    ts = np.sort(rng.integers(0, 2000, 1500))
    values = SHAPES[shape](rng, len(ts)) + 0.0
    asked = np.sort(rng.integers(0, 2100, 300))
    features = [
        WindowFeature(
            "", "log", w, name, "int64" if name == "count" else "float64", "" if name == "count" else "x"
        )
        for w in WINDOWS
        for name in AGGREGATIONS
    ]
    layout = compile_layout(SOURCE, features)
    words = np.stack([np.ones(len(ts), np.int64), values.view(np.int64)], axis=1)
    history = Events(np.array([0, len(ts)]), ts, np.arange(len(ts)), words)
    answers = window_values(layout, history, Questions(np.array([0, len(asked)]), asked), {})
    for place, feature in enumerate(features):
        output = layout.order[place]
        for question, t in enumerate(asked.tolist()):
            inside = values[(ts >= t - feature.window_us) & (ts < t)].tolist()
            wanted = expected(inside, feature.aggregation)
            word, is_valid = answers.words[question, output], answers.is_valid[question, output]
            found = int(word) if feature.aggregation == "count" else float(word.view(np.float64))
            if feature.aggregation == "mean" and wanted is not None:
                assert found == pytest.approx(wanted, rel=1e-15, abs=1e-300)
            else:
                assert (found if is_valid else None) == wanted
