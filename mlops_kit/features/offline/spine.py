"""The rows that ask: their times, their keys, and what is wrong with them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from mlops_kit.errors import InputError, MissingColumnsError, UsageError, listed
from mlops_kit.features.admission import value_columns
from mlops_kit.features.definition.feature_set import EventSource, FeatureSet
from mlops_kit.features.layout import compile_layout
from mlops_kit.features.values import LAST_US, normal_values, times_us
from mlops_kit.schema import Array


@dataclass(frozen=True, slots=True)
class Asking:
    """How a spine asks: the column of time, "" if it does not matter; all columns that are needed; and by source
    those of sequence limits.
    """

    time: str
    columns: tuple[str, ...]
    applied: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spine:
    """Rows, their times in microseconds, and the number of the first one, for messages."""

    frame: pl.DataFrame
    times: Array
    asking: Asking
    first_row: int = 0

    def limits(self, source: EventSource) -> Array | None:
        """The highest sequence number that each row may see. Raises InputError where there is none."""
        column = self.asking.applied.get(source.name)
        if column is None:
            return None
        numbers, unfit = normal_values(self.frame[column], "int64")
        self.refuse(f"{column!r} is no sequence number", (numbers.is_null() | unfit).arg_true().to_numpy())
        return numbers.to_numpy()

    @property
    def span_us(self) -> tuple[int, int]:
        """The first and the last time that a row asks about."""
        return (int(self.times.min()), int(self.times.max())) if len(self.times) else (0, 0)

    def refuse(self, reason: str, rows: Array) -> None:
        """Raise InputError for these rows, if there are any."""
        if len(rows):
            what = f"{len(rows):,} of the rows cannot be asked about: {reason}"
            why = f"the first is row {self.first_row + int(rows[0]):,}, counted from 0"
            raise InputError(what, why, "mend these rows, or leave them out")


def read_spine(frame: pl.DataFrame, asking: Asking, first_row: int = 0) -> Spine:
    """Raises InputError for rows without a time."""
    if not asking.time:
        return Spine(frame, np.zeros(frame.height, np.int64), asking, first_row)
    times = times_us(frame[asking.time])
    spine = Spine(frame, times.fill_null(0).to_numpy(), asking, first_row)
    spine.refuse(f"{asking.time!r} is null, or no time", times.is_null().arg_true().to_numpy())
    beyond = (times < -LAST_US) | (times > LAST_US)
    spine.refuse(f"{asking.time!r} is after the year 9999, in microseconds", beyond.arg_true().to_numpy())
    return spine


def check_spine(
    schema: pl.Schema, features: FeatureSet, time: str | None = None, applied: Mapping[str, str] | None = None
) -> Asking:
    """How a spine with these columns asks. Without `time`, it is the only column of timestamps.

    Raises UsageError if there is none or several, and for names that clash; MissingColumnsError.
    """
    applied = applied or {}
    known = {source.name: source for source in features.events}
    if unknown := [name for name in applied if name not in known]:
        raise UsageError(f"there is no source {unknown[0]!r}", f"there are {listed(list(known))}")
    if clashing := [feature.name for feature in features.features if feature.name in schema]:
        why = "the features have these names"
        raise UsageError(f"the rows have columns {listed(clashing)} already", why, "rename or drop them")
    time = time or (_only_timestamp(schema) if _needs_time(features) else "")
    needed = tuple(dict.fromkeys([*([time] if time else []), *applied.values(), *_asked_columns(features)]))
    if missing := [name for name in needed if name not in schema]:
        raise MissingColumnsError(missing, list(schema))
    return Asking(time, needed, applied)


def _asked_columns(features: FeatureSet) -> Iterator[str]:
    """The keys' and, for features that include the row itself, those that an event has."""
    for key in [source.key for source in features.events] + [table.key for table in features.tables]:
        yield from (part.name for part in key)
    for source in features.events:
        layout = compile_layout(source, features.windows)
        if layout.has_current:
            yield from sorted(value_columns(source, layout))


def _needs_time(features: FeatureSet) -> bool:
    return bool(features.windows) or any(table.valid_from for table in features.tables)


def _only_timestamp(schema: pl.Schema) -> str:
    found = [name for name, dtype in schema.items() if isinstance(dtype, pl.Datetime)]
    if len(found) == 1:
        return found[0]
    why = f"{listed(found)} are timestamps" if found else "no column is a timestamp"
    fix = "name it with --time, by which text in a CSV file is read as times, too; in Python with time="
    raise UsageError("which column has the time of each row?", why, fix)
