"""Events as NDJSON lines: a frame with the columns that features need, and what is wrong with the other lines.

Each line is judged by itself: one that is no event must not cost the others of its batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import polars as pl

from mlops_kit.features.definition.feature_set import EventSource, Kind
from mlops_kit.features.keys import EXPECTED
from mlops_kit.features.values import times_us

Values = list[Any]

NO_OBJECT: Final = "no JSON object"

_LEAST, _LARGEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events as they came. `faults`: row → why it is no event; the frame has nulls there. `original` gives a row
    as it was, for the dead letters.
    """

    frame: pl.DataFrame
    faults: Mapping[int, str]
    original: Callable[[int], Any]


def read_event_lines(lines: Sequence[bytes], source: EventSource, columns: Sequence[str]) -> EventBatch:
    """A row for each line; what is absent is null."""
    faults: dict[int, str] = {}
    rows = [_read_line(line, row, faults) for row, line in enumerate(lines)]
    frame = _frame(rows, source, columns, faults)
    return EventBatch(frame, faults, lambda row: rows[row] or lines[row].decode(errors="replace"))


def read_event_values(values: Values, source: EventSource, columns: Sequence[str]) -> EventBatch:
    """The same of parsed JSON values."""
    faults = {row: NO_OBJECT for row, value in enumerate(values) if not isinstance(value, dict)}
    rows = [{} if row in faults else value for row, value in enumerate(values)]
    return EventBatch(_frame(rows, source, columns, faults), faults, lambda row: values[row])


def _frame(
    rows: Sequence[dict[str, Any]], source: EventSource, columns: Sequence[str], faults: dict[int, str]
) -> pl.DataFrame:
    kinds: dict[str, Kind] = {field.name: field.kind for field in source.fields}
    kinds |= {field.column: field.kind for field in source.key}
    series = [
        _times([row.get(name) for row in rows], name, faults)
        if name == source.time
        else typed_series([row.get(name) for row in rows], name, kinds.get(name, "int64"), faults)
        for name in columns
    ]
    return pl.DataFrame(series)


def _read_line(line: bytes, row: int, faults: dict[int, str]) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        faults[row] = f"not valid JSON: {error}"
        return {}
    if isinstance(found, dict):
        return found
    faults[row] = NO_OBJECT
    return {}


def typed_series(values: Values, name: str, kind: Kind, faults: dict[int, str]) -> pl.Series:
    """A column of a kind, with null for what is of another: JSON's numbers, texts and truth values are not mixed
    up.
    """
    if not set(map(type, values)) <= _TYPES[kind]:
        values = values.copy()
        for row, value in enumerate(values):
            if type(value) not in _TYPES[kind]:
                values[row] = None
                faults.setdefault(row, f"{name!r} is of another kind than the features take, {EXPECTED[kind]}")
    if kind == "float64":
        # NumPy takes None for NaN, and NaN is no value.
        return pl.Series(name, np.array([_as_float(v) for v in values], np.float64), nan_to_null=True)
    if kind == "int64":
        values = [_as_whole(value, row, name, faults) for row, value in enumerate(values)]
    return pl.Series(name, values, dtype=_DTYPES[kind])


def _times(values: Values, name: str, faults: dict[int, str]) -> pl.Series:
    """Microseconds: whole numbers as they are, texts as ISO 8601."""
    texts = [value if type(value) is str else None for value in values]
    whole = typed_series([None if type(value) is str else value for value in values], name, "int64", faults)
    return whole if set(texts) <= {None} else whole.zip_with(whole.is_not_null(), times_us(pl.Series(name, texts)))


def _as_float(value: float | None) -> float | None:
    """Python's integers have no limit, and NumPy makes an object of the largest."""
    try:
        return None if value is None else float(value)
    except OverflowError:
        return float("inf")


def _as_whole(value: float | None, row: int, name: str, faults: dict[int, str]) -> int | None:
    if value is None or (type(value) is int and _LEAST <= value <= _LARGEST):
        return value
    if type(value) is float and value.is_integer() and _LEAST <= value <= _LARGEST:
        return int(value)
    faults.setdefault(row, f"{name!r} is no whole number of 64 bits")
    return None


_TYPES: Final[Mapping[Kind, frozenset[type]]] = {
    "float64": frozenset({float, int, type(None)}),
    "int64": frozenset({int, float, type(None)}),
    "bool": frozenset({bool, type(None)}),
    "string": frozenset({str, type(None)}),
}
_DTYPES: Final[Mapping[Kind, Any]] = {"int64": pl.Int64, "bool": pl.Boolean, "string": pl.String}
