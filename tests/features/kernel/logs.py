"""Random definitions and logs of events for the kernel, as words."""

import numpy as np
from hypothesis import strategies as st

from mlops_kit.features.definition.feature_set import EventSource, Field, KeyField, WindowFeature
from mlops_kit.features.kernel.windows import Events, text_word
from mlops_kit.features.layout import AGGREGATIONS, compile_layout

FIELDS = {"x": "float64", "i": "int64", "s": "string"}
TEXTS = {text_word(text): text for text in ("", "a", "ä", "the same again")}
VALUES = {
    "x": st.sampled_from([None, 1e16, 1.0, -1e16, 0.1, 5e-324, 1e300, -3.5]),
    "i": st.sampled_from([None, -(2**63), 2**63 - 1, 3, -7]),
    "s": st.sampled_from([None, *TEXTS]),
}
NUMBERS = ("sum", "mean", "min", "max", "var", "std")

NEAR_VALUES = {**VALUES, "x": st.sampled_from([None, 1.0, 0.1, -0.3, 1e6, -123.456])}


def logs(values):
    """Events: the key, the time, the values, whether it meets the condition."""
    events = st.tuples(st.integers(0, 2), st.integers(0, 60), st.fixed_dictionaries(values), st.booleans())
    return st.lists(events, max_size=40)


LOGS = logs(VALUES) | logs(NEAR_VALUES)


@st.composite
def features(draw):
    aggregation = draw(st.sampled_from(AGGREGATIONS))
    columns = [""] if aggregation == "count" else ["x", "i"] if aggregation in NUMBERS else ["x", "i", "s"]
    column = draw(st.sampled_from(columns))
    window = draw(st.sampled_from([1, 5, 10, 30]))
    gives_value = aggregation in ("min", "max", "first", "last", "last_k")
    return WindowFeature(
        name="",
        source="log",
        window_us=window,
        aggregation=aggregation,
        kind=FIELDS[column] if gives_value else "float64",
        column=column,
        hop_us=draw(st.sampled_from([hop for hop in (0, 1, 3, 7) if hop <= window])),
        condition=draw(st.sampled_from(["", "c"])),
        k=draw(st.integers(1, 3)) if aggregation == "last_k" else 0,
        include_current=draw(st.booleans()),
    )


LAYOUTS = st.builds(
    lambda wanted, lateness_us: compile_layout(
        EventSource(
            "log",
            (KeyField("k", "k", "int64"),),
            "t",
            tuple(Field(name, kind) for name, kind in FIELDS.items()),
            lateness_us=lateness_us,
        ),
        wanted,
    ),
    st.lists(features(), min_size=1, max_size=8),
    st.sampled_from([0, 2, 10, 100]),
)


def words_of(layout, values, is_met):
    """An event's words."""
    words = [sum(1 << 32 + place for place in range(len(layout.conditions)) if is_met)] + [0] * len(layout.columns)
    for place, name in enumerate(layout.columns):
        if values[name] is not None:
            words[0] |= 1 << place
            words[1 + place] = int(np.float64(values[name]).view(np.int64)) if name == "x" else values[name]
    return words


def events_of(layout, log, first=0, end=None, by_time=False):
    """The part of a log as the kernel takes it: by key, then by sequence or by time and sequence."""
    numbered = [(key, seq, ts, values, is_met) for seq, (key, ts, values, is_met) in enumerate(log)][first:end]
    numbered.sort(key=lambda event: (event[0], event[2] if by_time else 0, event[1]))
    starts = np.searchsorted([event[0] for event in numbered], [0, 1, 2, 3]).astype(np.int64)
    words = [words_of(layout, values, is_met) for *_, values, is_met in numbered]
    return Events(
        starts,
        np.array([event[2] for event in numbered], np.int64),
        np.array([event[1] for event in numbered], np.int64),
        np.array(words, np.int64).reshape(len(words), layout.words),
    )
