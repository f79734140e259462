"""The rules of windows once more, in plain Python: sorted lists, fractions, and one rounding.

It knows nothing of the code that it judges but the names of what a definition holds.

Sums are fractions rather than `math.fsum`, which rounds a sum once as well, but not a mean or a variance that is made
of sums, and which gives up where a part of a sum is too large. Where both have an answer, it is the same.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from mlops_kit.features.definition.feature_set import EventSource, FeatureSet, TableSource, WindowFeature

Value = Any
Row = Mapping[str, Value]
Conditions = Mapping[str, Callable[[Row], bool]]
"""What the text of a condition means, as the test that made it up says."""

COUNTS = ("count", "distinct_count")
LAST_US = 253_402_300_799_999_999


@dataclass(frozen=True)
class Happening:
    """An event as it arrived. `row` has the source's columns, `ts` microseconds; any of them may be missing."""

    row: Row
    ts: int | None
    seq: int


@dataclass(frozen=True)
class Question:
    """Who asks when: `row` has the names of the keys and, for features that include it, the event's own columns."""

    row: Row
    ts: int
    limits: Mapping[str, int] = field(default_factory=dict)


def window_features(
    features: FeatureSet, source: EventSource, log: Sequence[Happening], question: Question, conditions: Conditions
) -> dict[str, Value]:
    """The value of each window feature of one source; `log` is in the order of arrival."""
    used = _used_columns(features, source)
    key = [typed(question.row[part.name]) for part in source.key]
    limit = question.limits.get(source.name)
    applied: dict[int, Happening] = {}
    for event in log:
        is_known = limit is None or event.seq <= limit
        if is_known and is_admitted(event, source, used) and _key_of(event, source) == key:
            applied.setdefault(event.seq, event)
    in_order = sorted(applied.values(), key=lambda event: (event.ts, event.seq))
    if None in (question.row[part.name] for part in source.key):
        return {
            f.name: 0 if f.aggregation in COUNTS else f.default
            for f in features.windows
            if f.source == source.name
        }
    values = {}
    for feature in features.windows:
        if feature.source == source.name:
            value = _aggregate(feature, in_order, question, conditions)
            values[feature.name] = feature.default if value is None else value
    return values


def is_admitted(event: Happening, source: EventSource, used: Iterable[str]) -> bool:
    """Whether the event counts at all."""
    if event.ts is None or not 0 <= event.ts <= LAST_US or event.seq < 0:
        return False
    values = [event.row[name] for name in used]
    return all(event.row[part.column] is not None for part in source.key) and not any(map(_is_infinite, values))


def table_features(
    features: FeatureSet, table: TableSource, rows: Sequence[Row], question: Question
) -> dict[str, Value]:
    """The value of each feature of one table; `rows` are in the order of the file, valid_from in microseconds."""
    key = [typed(question.row[part.name]) for part in table.key]
    mine = [row for row in rows if [typed(row[part.column]) for part in table.key] == key and _has_key(row, table)]
    if table.valid_from:
        dated = [row for row in mine if row[table.valid_from] is not None and row[table.valid_from] <= question.ts]
        newest = max((row[table.valid_from] for row in dated), default=None)
        mine = [row for row in dated if row[table.valid_from] == newest]
    values = {}
    for feature in features.lookups:
        if feature.source == table.name:
            value = _clean(mine[-1][feature.column]) if mine else None
            values[feature.name] = feature.default if value is None else value
    return values


def lower_bound(feature: WindowFeature, ts: int) -> int:
    """The time from which on a window has events that is asked for at a time."""
    lower = ts - feature.window_us
    return lower - lower % feature.hop_us if feature.hop_us else lower


def typed(value: Value) -> tuple[str, Value]:
    """1, True and "1" are three keys."""
    return type(value).__name__, value


def is_same(one: Value, other: Value) -> bool:
    """The same bits, so that 0.0 is not -0.0; and the same type."""
    if isinstance(one, float) and isinstance(other, float):
        return one.hex() == other.hex()
    return typed(one) == typed(other)


def _used_columns(features: FeatureSet, source: EventSource) -> set[str]:
    mine = [feature for feature in features.windows if feature.source == source.name]
    in_conditions = {f.name for f in source.fields for feature in mine if f.name in feature.condition.split()}
    return {feature.column for feature in mine} - {""} | in_conditions


def _key_of(event: Happening, source: EventSource) -> list[tuple[str, Value]]:
    return [typed(event.row[part.column]) for part in source.key]


def _has_key(row: Row, table: TableSource) -> bool:
    return None not in (row[part.column] for part in table.key)


def _is_infinite(value: Value) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _clean(value: Value) -> Value:
    """NaN is no value, and zero has no sign."""
    if isinstance(value, float):
        return None if math.isnan(value) else value + 0.0
    return value


def _aggregate(
    feature: WindowFeature, in_order: Sequence[Happening], question: Question, conditions: Conditions
) -> Value:
    lower = lower_bound(feature, question.ts)
    seen = [
        (event.ts, event.row) for event in in_order if event.ts is not None and lower <= event.ts < question.ts
    ]
    if feature.include_current:
        seen.append((question.ts, question.row))
    if feature.condition:
        seen = [(ts, row) for ts, row in seen if conditions[feature.condition](row)]
    if feature.column:
        pairs = [(ts, _clean(row[feature.column])) for ts, row in seen]
        pairs = [(ts, value) for ts, value in pairs if value is not None]
    else:
        pairs = [(ts, None) for ts, _ in seen]
    return _value_of(feature, pairs, question.ts)


def _value_of(feature: WindowFeature, pairs: Sequence[tuple[int, Value]], now: int) -> Value:
    values = [value for _, value in pairs]
    match feature.aggregation:
        case "count":
            return len(values)
        case "distinct_count":
            return len(set(values))
        case "time_since_last":
            return (now - pairs[-1][0]) / 1e6 if pairs else None
        case "sum" | "mean" | "var" | "std":
            return moment(feature.aggregation, values)
        case "min" | "max":
            best = min if feature.aggregation == "min" else max
            return best(values) if values else None
        case "first":
            return values[0] if values else None
        case "last" | "last_k":
            back = max(feature.k, 1)
            return values[-back] if len(values) >= back else None


def moment(aggregation: str, values: Sequence[Value]) -> float | None:
    """The sum, mean, variance or deviation of a sample, rounded once; None where there is none."""
    if not values:
        return None
    exact = [Fraction(value) for value in values]
    count, total = len(exact), sum(exact, Fraction(0))
    if aggregation == "sum":
        return _rounded(total)
    if aggregation == "mean":
        return _rounded(total / count)
    if count < 2:
        return None
    mean = total / count
    variance = _rounded(sum(((value - mean) ** 2 for value in exact), Fraction(0)) / (count - 1))
    return variance if aggregation == "var" else math.sqrt(variance)


def _rounded(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
