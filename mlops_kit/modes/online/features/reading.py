"""Rows of a request become what is looked up: whatever is wrong with them fails this request alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlops_kit.errors import InputError, MissingColumnsError
from mlops_kit.features.online.sources import Keys
from mlops_kit.features.online.vectors import FeatureReader
from mlops_kit.modes.online.features.asked import Asked, Values, as_objects
from mlops_kit.modes.online.features.columns import RequestColumns
from mlops_kit.schema import Columns


class RequestReader:
    """Reads for one model."""

    def __init__(self, columns: RequestColumns, reader: FeatureReader) -> None:
        self._columns = columns
        self._reader = reader
        self._shaped = columns.shaped

    def row(self, row: Mapping[str, Any]) -> Asked:
        """One row of Python values. Raises MissingColumnsError and InputError."""
        try:
            columns = {name: (row[name],) for name in self._columns.needed}
        except KeyError:
            raise self._missing(row) from None
        given: Mapping[str, Values] = {}
        if not self._columns.optional.isdisjoint(row):
            given = self._given({name: (row[name],) for name in self._columns.features if name in row})
        return Asked(1, columns, given, self._reader.encode_row(row))

    def columns(self, columns: Columns) -> Asked:
        """Columns of equal length. Raises MissingColumnsError and InputError."""
        if any(name not in columns for name in self._columns.needed):
            raise self._missing(columns)
        names = [name for name in (*self._columns.needed, *self._columns.features) if name in columns]
        if len({len(columns[name]) for name in names}) > 1:
            raise InputError("the columns differ in length")
        values: dict[str, Any] = {
            name: columns[name] if name in self._shaped else columns[name].tolist() for name in names
        }
        given = self._given({name: values[name] for name in self._columns.features if name in values})
        needed = {name: values[name] for name in self._columns.needed}
        keys: list[Keys] = self._reader.encode({name: as_objects(values[name]) for name in self._columns.asked})
        return Asked(len(columns[names[0]]), needed, given, keys)

    def _given(self, values: Mapping[str, Values]) -> Mapping[str, Values]:
        """Without those that have no value in any row: null and NaN are none."""
        plain = {
            name: [None if type(value) is float and np.isnan(value) else value for value in column]
            for name, column in values.items()
        }
        return {name: column for name, column in plain.items() if any(value is not None for value in column)}

    def _missing(self, found: Mapping[str, Any]) -> MissingColumnsError:
        return MissingColumnsError([name for name in self._columns.needed if name not in found], found)
