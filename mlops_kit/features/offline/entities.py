"""The different keys that a spine asks for, and which of them a row of a history has."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from mlops_kit.features.definition.feature_set import KeyField
from mlops_kit.features.keys import factorize, key_columns
from mlops_kit.schema import Array

_CODE: Final = ""
"""A column's name that no key has."""

MOST_SPARSE: Final = 8
"""Whole numbers are looked up in an array with room for so many more than there are."""


class Entities:
    """`codes` has the number of each row's key, -1 where a field is null; there are `count` different ones."""

    def __init__(self, spine: pl.DataFrame, key: Sequence[KeyField]) -> None:
        """Raises MissingColumnsError; InputError for a column of another type than the key's."""
        fields = key_columns(spine, [part.name for part in key], [part.kind for part in key])
        self.codes, self.count = factorize(fields)
        self._columns = [part.column for part in key]
        self._kinds = [part.kind for part in key]
        first = np.empty(self.count, np.int64)
        rows = np.flatnonzero(self.codes >= 0)
        first[self.codes[rows]] = rows
        known = fields[first].rename(dict(zip(fields.columns, self._columns, strict=True)))
        self._known = known.with_columns(pl.int_range(pl.len()).alias(_CODE))
        self._least, self._places = self._array()

    def find(self, frame: pl.DataFrame) -> Array:
        """The number of the key of each row of a source, -1 for one that nobody asks for. Raises as above."""
        fields = key_columns(frame, self._columns, self._kinds)
        if self._places is not None and not fields.to_series().null_count():
            offsets = fields.to_series().to_numpy() - self._least
            is_inside = (offsets >= 0) & (offsets < len(self._places))
            found: Array = np.where(is_inside, self._places[np.where(is_inside, offsets, 0)], -1)
            return found
        joined = fields.join(self._known, on=self._columns, how="left", maintain_order="left")
        return joined[_CODE].fill_null(-1).to_numpy()

    def key_of(self, code: int) -> dict[str, object]:
        """The fields of one key, by the source's names."""
        return self._known.drop(_CODE).row(code, named=True)

    def _array(self) -> tuple[int, Array | None]:
        """For one whole number: the least, and the code of each from there on."""
        if self._kinds != ["int64"] or not self.count:
            return 0, None
        values = self._known[self._columns[0]].to_numpy()
        least, largest = int(values.min()), int(values.max())
        if largest - least > MOST_SPARSE * self.count:
            return 0, None
        places = np.full(largest - least + 1, -1, np.int64)
        places[values - least] = np.arange(self.count)
        return least, places
