"""From the kernel's words to the values that a model sees: the one place of roots, seconds, defaults and casts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from mlops_kit.features.definition.expressions.columns import DTYPES
from mlops_kit.features.definition.feature_set import Aggregation, Feature, TableFeature, WindowFeature
from mlops_kit.features.kernel.windows import Answers, text_word
from mlops_kit.features.layout import AGGREGATIONS, Layout
from mlops_kit.schema import Array

US_PER_S: Final = 1e6

NEVER_EMPTY: Final[tuple[Aggregation, ...]] = ("count", "distinct_count")
"""They are 0 where the others are their default."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The features of one source for some rows, in the order of their definition.

    `words` and `is_valid` have shape (rows, features); a word is the bits of a float64, an int64, 0 or 1, or
    stands for one of `texts`. Where a feature is not valid it is null, and its word means nothing.
    """

    words: Array
    is_valid: Array
    texts: Mapping[int, str]


class Finisher:
    """Finishes the features of one source; what depends on the definition alone is done once."""

    def __init__(self, features: Sequence[WindowFeature], layout: Layout) -> None:
        """`features` are those that `layout` was compiled from: those of other sources are passed over.

        `texts` has the words of defaults.
        """
        self.features = tuple(feature for feature in features if feature.source == layout.source)
        self._order = layout.order
        self._starts_valid = np.isin(layout.outputs[:, 1], [AGGREGATIONS.index(name) for name in NEVER_EMPTY])
        self._std = _places(self.features, "std")
        self._since = _places(self.features, "time_since_last")
        self._has_default = np.array([feature.default is not None for feature in self.features], np.bool_)
        self._defaults = np.array([_default_word(feature) for feature in self.features], np.int64)
        self.texts = {text_word(f.default): f.default for f in self.features if isinstance(f.default, str)}

    def finish(self, answers: Answers) -> Finished:
        """What the kernel answered, as features."""
        words, is_valid = answers.words.take(self._order, 1), answers.is_valid.take(self._order, 1)
        if len(self._std):
            with np.errstate(invalid="ignore"):  # of words that mean nothing
                words[:, self._std] = np.sqrt(words[:, self._std].view(np.float64)).view(np.int64)
        if len(self._since):
            words[:, self._since] = (words[:, self._since] / US_PER_S).view(np.int64)
        words = np.where(is_valid, words, self._defaults)
        texts = {**answers.texts, **self.texts} if self.texts else answers.texts
        return Finished(words, is_valid | self._has_default, texts)

    def empty(self, rows: int) -> Finished:
        """The features of keys that have no events at all."""
        shape = rows, len(self._starts_valid)
        return self.finish(Answers(np.zeros(shape, np.int64), np.broadcast_to(self._starts_valid, shape), {}))


def finish_lookup(feature: TableFeature, values: pl.Series) -> pl.Series:
    """A column of a table's rows, null where a row or its value is missing, as the feature."""
    finished = values.cast(DTYPES[feature.kind]).alias(feature.name)
    return finished if feature.default is None else finished.fill_null(feature.default)


def series_of(feature: Feature, words: Array, is_valid: Array, texts: Mapping[int, str]) -> pl.Series:
    """One feature of many rows as a column of a frame; words of shape (rows,)."""
    series = _values(feature, words, texts).alias(feature.name)
    return series if is_valid.all() else series.set(pl.Series(~is_valid), None)


def _values(feature: Feature, words: Array, texts: Mapping[int, str]) -> pl.Series:
    match feature.kind:
        case "float64":
            return pl.Series(words.view(np.float64))
        case "bool":
            return pl.Series(words.astype(np.bool_))
        case "string":
            found = list(texts), list(texts.values())
            return pl.Series(words).replace_strict(*found, default=None, return_dtype=pl.String)
        case _:
            return pl.Series(words)


def _places(features: Sequence[WindowFeature], aggregation: Aggregation) -> Array:
    return np.array([place for place, f in enumerate(features) if f.aggregation == aggregation], np.int64)


def _default_word(feature: WindowFeature) -> int:
    default = feature.default
    if isinstance(default, str):
        return text_word(default)
    if feature.kind == "float64" and default is not None:
        return int(np.float64(default).view(np.int64))
    return int(default or 0)
