"""Which columns a source has, and of what kind, as far as one knows when a definition is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args

import polars as pl

from mlops_kit.errors import UsageError, listed, suggestion
from mlops_kit.features.definition.expressions import Condition, parse_condition
from mlops_kit.features.definition.expressions.columns import kind_of
from mlops_kit.features.definition.feature_set import Field, KeyField, Kind
from mlops_kit.features.definition.parquet_files import parquet_schema

KeyColumns = str | list[str] | tuple[str, ...] | Mapping[str, str]
"""A column, several, or columns by the names that they have in the rows."""

KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """`kinds` of the columns that features can use, and the dtypes of the `others`; `is_whole` if a file says so,
    and there are no more columns than these.
    """

    source: str
    kinds: Mapping[str, Kind]
    others: Mapping[str, pl.DataType]
    is_whole: bool

    @property
    def fields(self) -> tuple[Field, ...]:
        """All that can be used."""
        return tuple(Field(name, kind) for name, kind in self.kinds.items())

    def key(self, key: KeyColumns) -> tuple[KeyField, ...]:
        """The key's fields. Raises UsageError for a column that is unknown, or of a type that is no key."""
        if isinstance(key, str):
            key = [key]
        pairs = key.items() if isinstance(key, Mapping) else [(name, name) for name in key]
        return tuple(KeyField(name, column, self.kind(column)) for name, column in pairs)

    def check_time(self, column: str, what: str) -> None:
        """Raise UsageError for a column of times that is unknown, or has no times."""
        if self.is_whole and column not in self.kinds and column not in self.others:
            raise self._unknown(column)
        dtype = self.others.get(column)
        kind = self.kinds.get(column)
        if kind not in (None, "int64") or not (dtype is None or isinstance(dtype, pl.Datetime)):
            raise UsageError(
                f"{self.source!r}: {what} {column!r} is {dtype or kind}",
                "a time is a timestamp, or whole microseconds since 1970",
                f"name another column, or convert {column!r}",
            )

    def check_sequence(self, column: str) -> None:
        """Raise UsageError for a column of sequence numbers that is unknown, or has no whole numbers."""
        if column and (self.is_whole or column in self.kinds) and self.kind(column) != "int64":
            raise UsageError(
                f"{self.source!r}: sequence {column!r} is {self.kinds[column]}", "it counts events", "name another"
            )

    def kind(self, column: str) -> Kind:
        """The kind of a column. Raises UsageError if it is unknown, or of a type that no feature takes."""
        if column in self.kinds:
            return self.kinds[column]
        if column not in self.others:
            raise self._unknown(column)
        raise UsageError(
            f"{self.source!r}: column {column!r} is {self.others[column]}",
            "features take numbers, texts and truth values",
            f"convert {column!r} in the files",
        )

    def condition(self, text: str) -> Condition:
        """A condition on events with these columns. Raises UsageError for what is wrong with it."""
        return parse_condition(text, self.kinds, self.others)

    def _unknown(self, column: str) -> UsageError:
        return unknown_column(self.source, column, [*self.kinds, *self.others])


def read_columns(source: str, path: str, declared: Mapping[str, str] | None) -> SourceColumns:
    """From the Parquet files at `path` and from what is `declared`, which may widen whole numbers to float64.

    Raises UsageError if neither says anything, or they contradict each other.
    """
    kinds = _declared_kinds(source, declared or {})
    schema = parquet_schema(path) if path else None
    if schema is None:
        if not kinds:
            why = f"there is no Parquet file at {path!r}" if path else "it has no files that say so"
            fix = 'check the path, or say it: columns={"dep_delay": "float64", …}'
            raise UsageError(f"{source!r}: of what types are its columns", why, fix)
        return SourceColumns(source, kinds, {}, is_whole=False)
    found = {name: kind for name, dtype in schema.items() if (kind := kind_of(dtype)) is not None}
    for name, kind in kinds.items():
        if name not in schema:
            raise unknown_column(source, name, list(schema))
        if found.get(name) != kind and (found.get(name), kind) != ("int64", "float64"):
            raise UsageError(
                f"{source!r}: column {name!r} is declared as {kind}",
                f"it is {schema[name]} in {path!r}",
                "leave the declaration out, or convert the files",
            )
    others = {name: dtype for name, dtype in schema.items() if name not in found}
    return SourceColumns(source, found | kinds, others, is_whole=True)


def unknown_column(source: str, column: str, known: list[str]) -> UsageError:
    """The error for a column that a source does not have."""
    fix = suggestion([column], known) or f"it has {listed(known)}"
    return UsageError(f"{source!r} has no column {column!r}", fix=fix)


def _declared_kinds(source: str, declared: Mapping[str, str]) -> dict[str, Kind]:
    for name, kind in declared.items():
        if kind not in KINDS:
            fix = suggestion([str(kind)], KINDS) or f"types are {listed(KINDS)}"
            raise UsageError(f"{source!r}: column {name!r} has the unknown type {kind!r}", fix=fix)
    return {name: cast(Kind, kind) for name, kind in declared.items()}
