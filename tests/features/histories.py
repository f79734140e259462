"""Random definitions, histories and questions, of the kinds that break feature pipelines."""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from hypothesis import event
from hypothesis import strategies as st

from mlops_kit.features.definition.expressions.columns import DTYPES
from mlops_kit.features.definition.feature_set import (
    EventSource,
    FeatureSet,
    Field,
    KeyField,
    Kind,
    WindowFeature,
)
from tests.features.oracle import Conditions, Happening, Question, Row, lower_bound, typed

FIELDS: Mapping[str, Kind] = {"x": "float64", "n": "int64", "b": "bool", "s": "string"}

NUMBERS = [1e16, 1.0, -1e16, 0.1, 0.2, 0.3, 0.0, -0.0, 5e-324, 1.7e308, -1.7e308, 3.0, math.nan, math.inf, None]
NEAR = [1.0, 0.1, -0.1, 0.3, 1e6, -123.456, 0.0, None]
"""Their sums fit into 128 bits."""
VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "x": st.sampled_from(NUMBERS) | st.floats(width=64),
    "n": st.sampled_from([0, 1, -1, 2, 2**63 - 1, -(2**63), None]),
    "b": st.sampled_from([True, False, None]),
    "s": st.sampled_from(["", "a", "1", "a|b", "ä", None]),
}
KEYS: Mapping[Kind, list[Any]] = {
    "int64": [1, 0, -1, 17, None],
    "string": ["1", "a", "a|b", "b", "", "%7C", "True", None],
    "bool": [True, False, None],
}
CONDITIONS: Conditions = {
    "x > 0": lambda row: row["x"] is not None and row["x"] > 0,
    "n != 1": lambda row: row["n"] is not None and row["n"] != 1,
    "s = 'a'": lambda row: row["s"] == "a",
    "b": lambda row: row["b"] is True,
    "x is null": lambda row: row["x"] is None or math.isnan(row["x"]),
}
AGGREGATIONS = {
    "float64": ["count", "sum", "mean", "min", "max", "var", "std", "first", "last", "last_k", "distinct_count"],
    "int64": ["count", "sum", "mean", "min", "max", "var", "std", "first", "last", "last_k", "distinct_count"],
    "bool": ["count", "sum", "mean", "var", "std", "first", "last", "last_k", "distinct_count"],
    "string": ["count", "first", "last", "last_k", "distinct_count"],
}
DEFAULTS: Mapping[Kind, list[Any]] = {
    "float64": [None, 0.0, -7.5],
    "int64": [None, 0, -3],
    "bool": [None, True],
    "string": [None, "", "none"],
}


@dataclass(frozen=True)
class Case:
    """A definition, what has happened in the order of arrival, and who asks."""

    features: FeatureSet
    log: list[Happening]
    questions: list[Question]

    @property
    def source(self) -> EventSource:
        """The one source of events."""
        return self.features.events[0]


@st.composite
def keys(draw: st.DrawFn) -> tuple[KeyField, ...]:
    """One or two fields; sources and spines may call them differently."""
    kinds = draw(st.lists(st.sampled_from(["int64", "string", "bool"]), min_size=1, max_size=2))
    return tuple(KeyField(f"key{place}", f"their{place}", kind) for place, kind in enumerate(kinds))


@st.composite
def window_features(draw: st.DrawFn, name: str) -> WindowFeature:
    """Any aggregation of any column; windows and hops of a few microseconds, so that boundaries are met."""
    column = draw(st.sampled_from(["", *FIELDS]))
    kind = FIELDS[column] if column else "int64"
    aggregation = draw(
        st.sampled_from([*AGGREGATIONS[kind], "time_since_last"] if column else ["count", "time_since_last"])
    )
    if aggregation in ("count", "distinct_count"):
        kind = "int64"
    elif aggregation in ("sum", "mean", "var", "std", "time_since_last"):
        kind = "float64"
    window_us = draw(st.integers(1, 30))
    return WindowFeature(
        name,
        "clicks",
        window_us,
        aggregation,
        kind,
        column,
        hop_us=draw(st.sampled_from([0, 0, *(hop for hop in (1, 2, 5, 7) if hop <= window_us)])),
        condition=draw(st.sampled_from(["", "", *CONDITIONS])),
        k=draw(st.integers(1, 3)) if aggregation == "last_k" else 0,
        default=None if aggregation in ("count", "distinct_count") else draw(st.sampled_from(DEFAULTS[kind])),
        include_current=draw(st.booleans()),
    )


def entities(key: Sequence[KeyField]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """A few keys: events of many would never meet in a window. The first has no part that is null."""
    whole = st.tuples(*(st.sampled_from(KEYS[part.kind][:-1]) for part in key))
    others = st.lists(st.tuples(*(st.sampled_from(KEYS[part.kind]) for part in key)), max_size=2)
    return st.builds(lambda first, more: [first, *more], whole, others)


def rows_of(
    names: Sequence[str], known: Sequence[tuple[Any, ...]], *, are_near: bool = False
) -> st.SearchStrategy[dict[str, Any]]:
    """Rows of one of these entities: its key, in columns of these names, and every other column."""
    values = {**VALUES, "x": st.sampled_from(NEAR)} if are_near else VALUES
    keyed = st.sampled_from(known).map(lambda entity: dict(zip(names, entity, strict=True)))
    return st.builds(operator.or_, keyed, st.fixed_dictionaries(dict(values)))


@st.composite
def cases(draw: st.DrawFn, *, has_sequence: bool | None = None, most_events: int = 30) -> Case:
    """Events at few times, in any order, some before 1970, some twice; and questions at the same times. Half of the
    events are at the edges of somebody's window.
    """
    key = draw(keys())
    sequence = "seq" if (draw(st.booleans()) if has_sequence is None else has_sequence) else ""
    source = EventSource(
        "clicks", key, "at", tuple(Field(name, kind) for name, kind in FIELDS.items()), sequence=sequence
    )
    count = draw(st.integers(1, 6))
    windows = tuple(draw(window_features(f"f{place}")) for place in range(count))
    base = draw(st.sampled_from([0, 3, 1_700_000_000_000_000]))
    times = st.integers(-2, 45).map(lambda offset: base + offset)
    known = draw(entities(key))
    asked = draw(st.lists(rows_of([part.name for part in key], known), min_size=1, max_size=8))
    questions = [Question(_finite(row), draw(times)) for row in asked]
    of_source = rows_of([part.column for part in key], known, are_near=draw(st.booleans()))
    fewest = min(draw(st.sampled_from([4, 8, 15, 0])), most_events)
    rows = draw(st.lists(of_source, min_size=fewest, max_size=most_events))
    of_events = times_of_events(times, windows, questions)
    log = [Happening(row, draw(of_events), seq) for seq, row in enumerate(rows)]
    if sequence:
        log = draw(st.permutations(log + draw(st.lists(st.sampled_from(log), max_size=4)) if log else log))
    case = Case(FeatureSet((source,), (), windows, ()), list(log), questions)
    tell_kinds(case)
    return case


def times_of_events(
    times: st.SearchStrategy[int], windows: Sequence[WindowFeature], questions: Sequence[Question]
) -> st.SearchStrategy[int | None]:
    """Any of these times, or one at which a question's window begins or ends, or just before it; seldom none."""
    begins = {lower_bound(window, question.ts) for window in windows for question in questions}
    edges = begins | {question.ts for question in questions}
    near = st.sampled_from(sorted(edges | {edge - 1 for edge in edges}))
    return st.integers(0, 15).flatmap(lambda kind: st.none() if kind == 15 else near if kind % 2 else times)


def tell_kinds(case: Case) -> None:
    """What a case has: --hypothesis-show-statistics then says how many have it."""
    seen = times_in_windows(case)
    event(f"events in a window: {'some' if any(seen) else 'none'}")
    event(f"equal times in a window: {'some' if has_ties(seen) else 'none'}")


def times_in_windows(case: Case) -> list[list[int]]:
    """For each question and each window, the times of the events of its key that are in it."""
    found = []
    for question in case.questions:
        key = [typed(question.row[part.name]) for part in case.source.key]
        mine = {e.seq: e.ts for e in case.log if key == [typed(e.row[part.column]) for part in case.source.key]}
        times = [ts for ts in mine.values() if ts is not None and ts >= 0 and typed(None) not in key]
        bounds = [(lower_bound(window, question.ts), question.ts) for window in case.features.windows]
        found += [[ts for ts in times if low <= ts < high] for low, high in bounds]
    return found


def has_ties(seen: Sequence[Sequence[int]]) -> bool:
    """Whether two events of a window have the same time."""
    return any(len(times) > len({*times}) for times in seen)


def _finite(row: Row) -> Row:
    return {name: None if isinstance(value, float) and math.isinf(value) else value for name, value in row.items()}


def events_frame(source: EventSource, log: Sequence[Happening]) -> pl.DataFrame:
    """The log as a source writes it down."""
    schema = {part.column: DTYPES[part.kind] for part in source.key} | {n: DTYPES[k] for n, k in FIELDS.items()}
    rows = [{**event.row, "at": event.ts, "seq": event.seq} for event in log]
    return pl.DataFrame(rows, schema={**schema, "at": pl.Int64(), "seq": pl.Int64()}, orient="row")


def spine_frame(key: Sequence[KeyField], questions: Sequence[Question]) -> pl.DataFrame:
    """The questions as rows."""
    schema = {part.name: DTYPES[part.kind] for part in key} | {n: DTYPES[k] for n, k in FIELDS.items()}
    return pl.DataFrame(
        [{**q.row, "t": q.ts} for q in questions], schema={**schema, "t": pl.Int64()}, orient="row"
    )
