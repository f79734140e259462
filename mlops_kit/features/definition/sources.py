"""How people write features: sources, windows over them, and what is asked of those. Checked at once, where it is
written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import TypeAlias

from mlops_kit.errors import UsageError, listed, suggestion
from mlops_kit.features.definition.aggregations import Aggregate, kind_of_aggregate
from mlops_kit.features.definition.durations import parse_duration
from mlops_kit.features.definition.feature_set import (
    Default,
    EventSource,
    Kind,
    TableFeature,
    TableSource,
    WindowFeature,
)
from mlops_kit.features.definition.source_columns import KeyColumns, SourceColumns, read_columns
from mlops_kit.features.definition.validity import (
    check_event_source,
    check_table_feature,
    check_table_source,
    check_window,
    check_window_feature,
)

FilePath: TypeAlias = "str | PathLike[str]"


@dataclass(frozen=True, slots=True)
class WindowFeatures:
    """Aggregates of one window; what `agg` gives."""

    source: EventSource
    features: tuple[WindowFeature, ...]


@dataclass(frozen=True, slots=True)
class TableFeatures:
    """Columns of one table; what `select` gives."""

    source: TableSource
    features: tuple[TableFeature, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """Which events count. `agg` says what is asked of them."""

    source: EventSource
    columns: SourceColumns
    window_us: int
    hop_us: int
    condition: str
    include_current: bool

    def agg(self, **features: Aggregate) -> WindowFeatures:
        """Features by name: `agg(delay_mean_1h=mean("dep_delay", default=0.0), departures_1h=count())`.

        Raises UsageError for an unknown column, or one of a type that the aggregation does not take, and for a
        default that is no value of the feature's type.
        """
        made = [part for name, aggregate in features.items() for part in self._feature(name, aggregate)]
        for feature in made:
            check_window_feature(feature, self.source)
        return WindowFeatures(self.source, tuple(made))

    def _feature(self, name: str, asked: Aggregate) -> list[WindowFeature]:
        if not isinstance(asked, Aggregate):
            fix = f'write {name}=mean("dep_delay") or {name}=count()'
            raise UsageError(f"feature {name!r} is a {type(asked).__name__}, not an aggregation", fix=fix)
        column_kind = self.columns.kind(asked.column) if asked.column else None
        try:
            kind = kind_of_aggregate(asked.aggregation, column_kind)
        except UsageError as error:
            raise UsageError(f"feature {name!r}: {error.what}", error.why, error.fix) from error
        feature = WindowFeature(
            name=name,
            source=self.source.name,
            window_us=self.window_us,
            aggregation=asked.aggregation,
            kind=kind,
            column=asked.column,
            hop_us=self.hop_us,
            condition=self.condition,
            default=_plain(asked.default, kind),
            include_current=self.include_current,
        )
        if asked.aggregation != "last_k":
            return [feature]
        return [replace(feature, name=f"{name}_{k}", k=k) for k in range(1, asked.k + 1)]


class Events:
    """Things that happen to an entity, each at a time: departures of an airport, payments with a card.

    - `key`: the entity's column, or several, or columns by the names that rows and requests have for them.
    - `time`: the column of event time: a timestamp (without a zone it is UTC), or microseconds since 1970.
    - `history`: Parquet files with past events, in the order in which they arrived: a file, a folder or a pattern.
      A relative path is relative to the directory that a command runs in.
    - `columns`: types of columns ("float64", "int64", "bool", "string"). Without it they are those of the newest
      file of `history`, of which only the footer is read.
    - `topic`: where a stream has them.
    - `sequence`: the column with an event's number in its source. Without it, that is its row in the history.
    - `lateness`: how much older than the newest event a question may be, to be answered from state.

    Raises UsageError for whatever does not fit together, InputError for a file that is damaged.
    """

    def __init__(
        self,
        name: str,
        *,
        key: KeyColumns,
        time: str,
        history: FilePath = "",
        columns: Mapping[str, str] | None = None,
        topic: str = "",
        sequence: str = "",
        lateness: str = "1m",
    ) -> None:
        self.columns = read_columns(name, fspath(history), columns)
        self.columns.check_time(time, "time")
        self.columns.check_sequence(sequence)
        self.source = EventSource(
            name=name,
            key=self.columns.key(key),
            time=time,
            fields=self.columns.fields,
            history=fspath(history),
            topic=topic,
            sequence=sequence,
            lateness_us=parse_duration(lateness, f"{name!r}: lateness", least_us=0),
        )
        check_event_source(self.source)

    def window(
        self, window: str, *, hop: str | None = None, where: str = "", include_current: bool = False
    ) -> Window:
        """The events of the last "1h" or "30d" before a time, that time itself excluded.

        - `hop`: round the window's beginning down to a multiple of this; then a key with millions of events is
          answered as fast as one with few.
        - `where`: only events that meet a condition, as in "dep_delay > 0 and carrier in ('B6', 'DL')".
        - `include_current`: a row that is itself an event counts, too.
        """
        window_us = parse_duration(window, "a window")
        hop_us = 0 if hop is None else parse_duration(hop, "a hop")
        check_window(window_us, hop_us)
        condition = self.columns.condition(where).text if where else ""
        return Window(self.source, self.columns, window_us, hop_us, condition, include_current)


class Table:
    """What is known of an entity: one row per key or, with `valid_from`, one per key and time since when it holds.

    - `key`, `columns`: as for `Events`.
    - `path`: Parquet: a file, a folder or a pattern.
    - `valid_from`: the column with the time since when a row holds; of several since the same time, the last one
      counts. Without it, a row holds always, and a key has one.
    """

    def __init__(
        self,
        name: str,
        *,
        key: KeyColumns,
        path: FilePath = "",
        columns: Mapping[str, str] | None = None,
        valid_from: str = "",
    ) -> None:
        self.columns = read_columns(name, fspath(path), columns)
        if valid_from:
            self.columns.check_time(valid_from, "valid_from")
        self.source = TableSource(
            name=name,
            key=self.columns.key(key),
            fields=self.columns.fields,
            path=fspath(path),
            valid_from=valid_from,
        )
        check_table_source(self.source)

    def select(
        self, *columns: str, defaults: Mapping[str, Default] | None = None, **renamed: str
    ) -> TableFeatures:
        """Columns as features of the same name, or `renamed`: `select("runways", altitude="elevation")`.

        `defaults`, by feature, are for keys that the table does not have, and for nulls.
        """
        defaults = defaults or {}
        chosen = [*((column, column) for column in columns), *renamed.items()]
        if unknown := sorted(defaults.keys() - {name for name, _ in chosen}):
            names = [name for name, _ in chosen]
            fix = suggestion(unknown, names) or f"selected are {listed(names)}"
            raise UsageError(f"{self.source.name!r}: a default for {unknown[0]!r}, which is not selected", fix=fix)
        features = tuple(self._feature(name, column, defaults.get(name)) for name, column in chosen)
        for feature in features:
            check_table_feature(feature, self.source)
        return TableFeatures(self.source, features)

    def _feature(self, name: str, column: str, default: Default) -> TableFeature:
        kind = self.columns.kind(column)
        return TableFeature(name, self.source.name, column, kind, _plain(default, kind))


def _plain(default: Default, kind: Kind) -> Default:
    """A default as its kind has it, where nothing is lost: 0 may stand for 0.0."""
    if kind == "float64" and type(default) is not bool and isinstance(default, int | float) and _is_exact(default):
        return float(default) + 0.0  # -0.0 is 0.0
    return default


def _is_exact(number: float) -> bool:
    try:
        return float(number) == number
    except OverflowError:
        return False
