"""What must hold of every definition, whether a person has just written it or a file claims to be one."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final, TypeVar

from mlops_kit.errors import UsageError, listed, suggestion
from mlops_kit.features.definition.aggregations import MOST_NEWEST, kind_of_aggregate
from mlops_kit.features.definition.durations import check_duration, format_duration
from mlops_kit.features.definition.expressions import parse_condition
from mlops_kit.features.definition.feature_set import (
    Default,
    EventSource,
    FeatureSet,
    KeyField,
    Kind,
    TableFeature,
    TableSource,
    WindowFeature,
)
from mlops_kit.features.definition.source_columns import unknown_column

MOST_TILES: Final = 10_000
"""Hops in a window: the state of each key has a tile for each."""

MOST_FEATURES: Final = 4096
MOST_KEY_FIELDS: Final = 8
MOST_COLUMNS, MOST_CONDITIONS = 32, 31
"""That the window features of one source may look at: an event has a bit for each."""

MOST_TEXT: Final = 1024
_Source = TypeVar("_Source")
_SOURCE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def check_feature_set(features: FeatureSet) -> None:
    """Raise UsageError unless every mode can compute it."""
    if not features.features:
        raise UsageError("there is no feature", fix="define some: features = [departures.window(…).agg(…)]")
    if len(features.features) > MOST_FEATURES:
        raise UsageError(f"there are {len(features.features):,} features", f"at most {MOST_FEATURES:,} are taken")
    _refuse_repeated([source.name for source in features.sources], "sources")
    _refuse_repeated([feature.name for feature in features.features], "features")
    for event_source in features.events:
        check_event_source(event_source)
        check_size(event_source, features.windows)
    for table in features.tables:
        check_table_source(table)
    _check_keys(features)
    events, tables = {source.name: source for source in features.events}, {t.name: t for t in features.tables}
    for window in features.windows:
        check_window_feature(window, _named(window.source, events))
    for lookup in features.lookups:
        check_table_feature(lookup, _named(lookup.source, tables))


def check_event_source(source: EventSource) -> None:
    """Raise UsageError for a name, a key or a lateness that cannot be."""
    _check_source(source)
    check_duration(source.lateness_us, f"{source.name!r}: lateness", least_us=0)
    for text, what in ((source.time, "time"), (source.topic, "topic"), (source.sequence, "sequence")):
        check_text(text, f"{source.name!r}: {what}")
    check_text(source.history, f"{source.name!r}: history")
    if not source.time:
        raise UsageError(f"{source.name!r} has no time", fix="name the column with the time of each event")


def check_table_source(source: TableSource) -> None:
    """Raise UsageError for a name or a key that cannot be."""
    _check_source(source)
    check_text(source.path, f"{source.name!r}: path")
    check_text(source.valid_from, f"{source.name!r}: valid_from")


def check_size(source: EventSource, windows: Sequence[WindowFeature]) -> None:
    """Raise UsageError if the features of a source look at more than an event has bits for."""
    mine = [window for window in windows if window.source == source.name]
    columns = {window.column for window in mine} - {""}
    conditions = {window.condition for window in mine} - {""}
    for found, most, what in ((columns, MOST_COLUMNS, "columns"), (conditions, MOST_CONDITIONS, "conditions")):
        if len(found) > most:
            raise UsageError(
                f"the features of {source.name!r} look at {len(found)} {what}",
                f"one source has at most {most}",
                "define a second source on the same history, with another name",
            )


def check_window(window_us: int, hop_us: int) -> None:
    """Raise UsageError for spans that make no window. A hop of 0 is none."""
    check_duration(window_us, "a window")
    check_duration(hop_us, "a hop", least_us=0)
    window, hop = format_duration(window_us), format_duration(hop_us)
    if hop_us > window_us:
        raise UsageError(
            f"a hop of {hop} in a window of {window}", "it is longer than its window", "take a shorter one"
        )
    if hop_us and window_us // hop_us > MOST_TILES:
        raise UsageError(
            f"a hop of {hop} in a window of {window}",
            f"that is {window_us // hop_us:,} hops for each key, and {MOST_TILES:,} are the most",
            "take a longer hop, or none: then the window is exact",
        )


def check_window_feature(feature: WindowFeature, source: EventSource) -> None:
    """Raise UsageError for a feature that cannot be computed from the source's events."""
    kinds = {field.name: field.kind for field in source.fields}
    _check_feature_name(feature.name)
    check_window(feature.window_us, feature.hop_us)
    if feature.column and feature.column not in kinds:
        raise unknown_column(source.name, feature.column, list(kinds))
    try:
        kind = kind_of_aggregate(feature.aggregation, kinds[feature.column] if feature.column else None)
    except UsageError as error:
        raise UsageError(f"feature {feature.name!r}: {error.what}", error.why, error.fix) from error
    if feature.kind != kind:
        raise UsageError(f"feature {feature.name!r} is {feature.kind}", f"{feature.aggregation} gives {kind}")
    if not (1 <= feature.k <= MOST_NEWEST if feature.aggregation == "last_k" else feature.k == 0):
        raise UsageError(f"feature {feature.name!r}: {feature.aggregation} of {feature.k} events")
    if feature.condition and parse_condition(feature.condition, kinds).text != feature.condition:
        raise UsageError(f"feature {feature.name!r}: its condition is not in canonical form")
    if feature.aggregation in ("count", "distinct_count") and feature.default is not None:
        raise UsageError(f"feature {feature.name!r} has a default", "a count of nothing is 0", "leave it out")
    check_default(feature.name, feature.kind, feature.default)


def check_table_feature(feature: TableFeature, source: TableSource) -> None:
    """Raise UsageError for a feature that is no column of the table."""
    kinds = {field.name: field.kind for field in source.fields}
    _check_feature_name(feature.name)
    if feature.column not in kinds:
        raise unknown_column(source.name, feature.column, list(kinds))
    if feature.kind != kinds[feature.column]:
        raise UsageError(f"feature {feature.name!r} is {feature.kind}", f"its column is {kinds[feature.column]}")
    check_default(feature.name, feature.kind, feature.default)


def check_default(name: str, kind: Kind, default: Default) -> None:
    """Raise UsageError for a default that is no value of this kind, exactly."""
    types: dict[Kind, type] = {"float64": float, "int64": int, "bool": bool, "string": str}
    if default is None:
        return
    if type(default) is not types[kind]:
        raise UsageError(
            f"feature {name!r}: its default {default!r} is no {kind}",
            f"the feature is {kind}",
            "give another, or None",
        )
    if isinstance(default, str):
        check_text(default, f"feature {name!r}: its default")
    elif not math.isfinite(default) or (kind == "int64" and not -(2**63) <= default < 2**63):
        raise UsageError(f"feature {name!r}: its default {default!r} is out of range", fix="None is null")


def check_text(text: str, what: str) -> None:
    """Raise UsageError for what is too long, or could not be shown or stored."""
    if len(text) > MOST_TEXT:
        raise UsageError(f"{what} has {len(text):,} characters", f"{MOST_TEXT:,} are the most")
    if not text.isprintable():
        raise UsageError(f"{what} {text!r} has characters that cannot be printed")


def _check_feature_name(name: str) -> None:
    check_text(name, "feature")
    if not name.strip():
        raise UsageError("a feature has no name")


def _check_source(source: EventSource | TableSource) -> None:
    if not _SOURCE_NAME.fullmatch(source.name):
        why = "it is a part of URLs and of keys in stores"
        fix = "use at most 64 letters, digits, _ and -, and a letter first"
        raise UsageError(f"{source.name[:MOST_TEXT]!r} cannot be the name of a source", why, fix)
    if not 1 <= len(source.key) <= MOST_KEY_FIELDS:
        fix = f"name 1 to {MOST_KEY_FIELDS} columns"
        raise UsageError(f"{source.name!r} has a key of {len(source.key)} columns", fix=fix)
    for field in source.key:
        check_text(field.name, f"{source.name!r}: key")
        check_text(field.column, f"{source.name!r}: key")
        if not field.name or not field.column:
            raise UsageError(f"{source.name!r}: a column of its key has no name")
        if field.kind == "float64":
            fix = "name another column, or convert it to whole numbers or text"
            raise UsageError(f"{source.name!r}: {field.column!r} is no key", "floats are hardly ever equal", fix)
    for field_ in source.fields:
        check_text(field_.name, f"{source.name!r}: column")
    _refuse_repeated([field.name for field in source.key], f"key columns of {source.name!r}")
    _refuse_repeated([field.name for field in source.fields], f"columns of {source.name!r}")


def _check_keys(features: FeatureSet) -> None:
    keys: dict[str, KeyField] = {}
    names = {feature.name for feature in features.features}
    for field in chain.from_iterable(source.key for source in features.sources):
        other = keys.setdefault(field.name, field)
        if other.kind != field.kind:
            why = "a row has one value there, and 1 is not '1'"
            fix = "convert one, or give it another name: key={name in the rows: column}"
            raise UsageError(
                f"key {field.name!r} is {other.kind} in one source and {field.kind} in another", why, fix
            )
        if field.name in names:
            raise UsageError(
                f"{field.name!r} is a feature and a key", "a row has one value there", "rename the feature"
            )


def _refuse_repeated(names: Sequence[str], what: str) -> None:
    if repeated := [name for name, times in Counter(names).items() if times > 1]:
        raise UsageError(f"two {what} are named {repeated[0]!r}", fix="rename one of them")


def _named(name: str, sources: Mapping[str, _Source]) -> _Source:
    if name not in sources:
        fix = suggestion([name], list(sources)) or f"there are {listed(list(sources))}"
        raise UsageError(f"there is no source {name!r}", fix=fix)
    return sources[name]
