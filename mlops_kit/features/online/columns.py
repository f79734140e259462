"""From words to the columns that a model takes: all features of a source at once, because a request waits."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mlops_kit.features.definition.feature_set import Feature, TableFeature
from mlops_kit.schema import Array

Texts = Callable[[int], Array]
"""A feature's place → its texts, an object array with None where there is none."""


class ColumnMaker:
    """Makes columns of finished words of the same features again and again.

    A float is float64 with NaN where there is no value. Others are of their own dtype, or object arrays with None
    where a value is missing, so that no whole number passes through a float.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        floats = [place for place, feature in enumerate(features) if feature.kind == "float64"]
        self._names = [features[place].name for place in floats]
        self._floats: Array | slice = slice(None) if len(floats) == len(features) else np.array(floats, np.intp)
        self._others = [(place, one) for place, one in enumerate(features) if one.kind != "float64"]

    def columns(self, words: Array, is_valid: Array, texts: Texts) -> dict[str, Array]:
        """Feature → values of shape (rows,), from words and their validity of shape (rows, features)."""
        columns: dict[str, Array] = {}
        if self._names:
            values = np.ascontiguousarray(words[:, self._floats].T).view(np.float64)
            valid = is_valid[:, self._floats]
            if not valid.all():
                values[~valid.T] = np.nan
            columns = dict(zip(self._names, values, strict=True))
        for place, feature in self._others:
            columns[feature.name] = _column(feature, words[:, place], is_valid[:, place], place, texts)
        return columns


class LookupFinisher:
    """The features of a table from the words of its fields: their places and defaults."""

    def __init__(self, features: Sequence[TableFeature], places: Sequence[int]) -> None:
        """`places`: where the field of each feature is among those of the table."""
        self._places: Array | slice = np.array(places, np.intp)
        if list(places) == list(range(len(places))):
            self._places = slice(0, len(places))
        self._has_default = np.array([feature.default is not None for feature in features], bool)
        self._defaults = np.array([_default_word(feature) for feature in features], np.int64)
        self._texts = {place: one.default for place, one in enumerate(features) if isinstance(one.default, str)}
        self._fields = list(places)

    def finish(self, words: Array, is_valid: Array, texts: Mapping[int, Array]) -> tuple[Array, Array, Texts]:
        """Words, validity and texts of the features, of shape (rows, features)."""
        words, valid = words[:, self._places], is_valid[:, self._places]
        if not valid.all():
            words = np.where(valid, words, self._defaults)

        def read(place: int) -> Array:
            column = texts[self._fields[place]]
            default = self._texts.get(place)
            return column if default is None else np.where(valid[:, place], column, default)

        return words, valid | self._has_default, read


def texts_of_words(words: Array, is_valid: Array, texts: Mapping[int, str]) -> Texts:
    """Texts by the words that stand for them."""

    def read(place: int) -> Array:
        column = np.full(len(words), None, object)
        for row in np.flatnonzero(is_valid[:, place]).tolist():
            column[row] = texts[int(words[row, place])]
        return column

    return read


def _column(feature: Feature, words: Array, is_valid: Array, place: int, texts: Texts) -> Array:
    if feature.kind == "string":
        return texts(place)
    values = words.astype(bool) if feature.kind == "bool" else words.copy()
    if is_valid.all():
        return values
    values = values.astype(object)
    values[~is_valid] = None
    return values


def _default_word(feature: TableFeature) -> int:
    if feature.kind == "float64" and feature.default is not None:
        return int(np.float64(feature.default).view(np.int64))
    return 0 if isinstance(feature.default, str) else int(feature.default or 0)
