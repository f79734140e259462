"""A definition as data: what features.json holds and what every mode computes from."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["float64", "int64", "bool", "string"]
"""What a value is. Floats of any width are float64 and integers of any width int64, both exactly."""

Aggregation: TypeAlias = Literal[
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "var",
    "std",
    "first",
    "last",
    "last_k",
    "distinct_count",
    "time_since_last",
]

Default: TypeAlias = float | int | bool | str | None


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a source, under its own name."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class KeyField:
    """One column of an entity's key: what rows and requests call it, and what the source does. It is typed: 1 is
    not "1". Never float64.
    """

    name: str
    column: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class EventSource:
    """Things that happen to an entity, each at a time and with a sequence number.

    - `time`: the column of event time.
    - `fields`: the columns that features use, or conditions look at.
    - `history`: Parquet files with past events, in the order in which they arrived: a file, a folder or a pattern.
    - `sequence`: the column with an event's number in its source; "" for the row's number in the history.
    - `lateness_us`: state can answer as of any time since that of its newest event less this.
    """

    name: str
    key: tuple[KeyField, ...]
    time: str
    fields: tuple[Field, ...]
    history: str = ""
    topic: str = ""
    sequence: str = ""
    lateness_us: int = 60_000_000


@dataclass(frozen=True, slots=True)
class TableSource:
    """What is known of an entity: one row per key or, with `valid_from`, one per key and time since when."""

    name: str
    key: tuple[KeyField, ...]
    fields: tuple[Field, ...]
    path: str
    valid_from: str = ""


@dataclass(frozen=True, slots=True)
class WindowFeature:
    """An aggregate of the events of one entity in the window before a time T.

    - `window_us`, `hop_us`: it sees T - window <= ts < T; a hop rounds the lower bound down to its multiple.
    - `condition`: events for which this is not true are left out; "" for none.
    - `column`: "" for count and time_since_last of the events themselves.
    - `k`: for last_k, which of the newest this is: 1 is the newest. 0 for all others.
    - `default`: what an empty window gives; None is null. A count is never empty.
    - `include_current`: the row that asks is an event itself, and counts as one.
    """

    name: str
    source: str
    window_us: int
    aggregation: Aggregation
    kind: Kind
    column: str = ""
    hop_us: int = 0
    condition: str = ""
    k: int = 0
    default: Default = None
    include_current: bool = False


@dataclass(frozen=True, slots=True)
class TableFeature:
    """A column of the row that a table has for an entity at a time."""

    name: str
    source: str
    column: str
    kind: Kind
    default: Default = None


Feature: TypeAlias = WindowFeature | TableFeature


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Every feature of a model, in the order in which they were written, and the sources that they need."""

    events: tuple[EventSource, ...]
    tables: tuple[TableSource, ...]
    windows: tuple[WindowFeature, ...]
    lookups: tuple[TableFeature, ...]

    @property
    def features(self) -> tuple[Feature, ...]:
        """All of them: those of windows first."""
        return (*self.windows, *self.lookups)

    @property
    def sources(self) -> tuple[EventSource | TableSource, ...]:
        """Those of events and the tables."""
        return (*self.events, *self.tables)

    @property
    def counts(self) -> frozenset[str]:
        """The names of those that are never null."""
        counts = ("count", "distinct_count")
        return frozenset(feature.name for feature in self.windows if feature.aggregation in counts)
