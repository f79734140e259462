"""What can be asked of the events in a window. Each gives an empty window's answer a `default`; None is null.

The names are those of the field; three of them hide Python's own, where a module imports them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mlops_kit.errors import UsageError
from mlops_kit.features.definition.feature_set import Aggregation, Default, Kind

MOST_NEWEST: Final = 100
"""For last_k: each event is kept in the state of its key, in each tile of a hop."""

NUMBERS: Final[Sequence[Kind]] = ("float64", "int64")
TAKES: Final[dict[Aggregation, Sequence[Kind]]] = {
    "sum": (*NUMBERS, "bool"),
    "mean": (*NUMBERS, "bool"),
    "var": (*NUMBERS, "bool"),
    "std": (*NUMBERS, "bool"),
    "min": NUMBERS,
    "max": NUMBERS,
}
"""The kinds of columns; those that are not here take all."""

NEEDS_NO_COLUMN: Final[Sequence[Aggregation]] = ("count", "time_since_last")


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregation of a column, before it is asked of a window. `k`: how many, for last_k."""

    aggregation: Aggregation
    column: str = ""
    default: Default = None
    k: int = 0


def count(column: str = "") -> Aggregate:
    """How many events, or with `column` how many that have a value there."""
    return Aggregate("count", column)


def sum(column: str, default: float | None = None) -> Aggregate:  # noqa: A001
    """The exact sum, rounded once; true counts as 1."""
    return Aggregate("sum", column, default)


def mean(column: str, default: float | None = None) -> Aggregate:
    """The exact mean, rounded once; true counts as 1."""
    return Aggregate("mean", column, default)


def min(column: str, default: float | None = None) -> Aggregate:  # noqa: A001
    """The smallest number."""
    return Aggregate("min", column, default)


def max(column: str, default: float | None = None) -> Aggregate:  # noqa: A001
    """The largest number."""
    return Aggregate("max", column, default)


def var(column: str, default: float | None = None) -> Aggregate:
    """The variance of a sample (n - 1); `default` below two values."""
    return Aggregate("var", column, default)


def std(column: str, default: float | None = None) -> Aggregate:
    """The standard deviation of a sample (n - 1); `default` below two values."""
    return Aggregate("std", column, default)


def first(column: str, default: Default = None) -> Aggregate:
    """The value of the earliest event that has one."""
    return Aggregate("first", column, default)


def last(column: str, default: Default = None) -> Aggregate:
    """The value of the latest event that has one."""
    return Aggregate("last", column, default)


def last_k(column: str, k: int, default: Default = None) -> Aggregate:
    """The newest k values: `delays=last_k("dep_delay", 3)` gives delays_1 (the newest), delays_2 and delays_3."""
    if type(k) is not int or not 1 <= k <= MOST_NEWEST:
        raise UsageError(
            f"last_k of {k!r} events", f"k is a whole number from 1 to {MOST_NEWEST}", "choose another k"
        )
    return Aggregate("last_k", column, default, k)


def distinct_count(column: str) -> Aggregate:
    """How many different values; 0 and -0.0 are one."""
    return Aggregate("distinct_count", column)


def time_since_last(column: str = "", default: float | None = None) -> Aggregate:
    """Seconds since the latest event, or with `column` since the latest that has a value there."""
    return Aggregate("time_since_last", column, default)


def kind_of_aggregate(aggregation: Aggregation, column: Kind | None) -> Kind:
    """What it gives for a column of this kind, None for no column. Raises UsageError if it takes none such."""
    if column is None and aggregation not in NEEDS_NO_COLUMN:
        raise UsageError(f"{aggregation} of no column", fix=f'name the column: {aggregation}("dep_delay")')
    if column is not None and column not in TAKES.get(aggregation, (column,)):
        why = f"it takes columns of {' or '.join(TAKES[aggregation])}"
        raise UsageError(
            f"{aggregation} of a {column} column", why, "count, distinct_count, first and last take any"
        )
    if aggregation in ("count", "distinct_count"):
        return "int64"
    if aggregation in ("min", "max", "first", "last", "last_k") and column is not None:
        return column
    return "float64"
