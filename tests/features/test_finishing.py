"""From the kernel's words to values: roots, seconds, defaults and kinds."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from mlops_kit.features.definition.feature_set import (
    Aggregation,
    EventSource,
    Field,
    KeyField,
    Kind,
    TableFeature,
    WindowFeature,
)
from mlops_kit.features.finishing import Finisher, finish_lookup, series_of
from mlops_kit.features.kernel.windows import Answers, text_word
from mlops_kit.features.layout import compile_layout

FIELDS = (Field("b", "bool"), Field("n", "int64"), Field("s", "string"), Field("x", "float64"))
SOURCE = EventSource("clicks", (KeyField("user", "user", "int64"),), "at", FIELDS)


def bits_of(value: float) -> int:
    return int(np.float64(value).view(np.int64))


def feature(aggregation: Aggregation, column: str, kind: Kind, default: Any = None, **how: Any) -> WindowFeature:
    return WindowFeature(
        f"{aggregation}_{column}", "clicks", 10, aggregation, kind, column, default=default, **how
    )


def finished(one: WindowFeature, word: int, is_valid: bool, texts: dict[int, str]) -> Any:
    """The value of one feature, after its word."""
    finisher = Finisher([one], compile_layout(SOURCE, [one]))
    done = finisher.finish(Answers(np.array([[word]]), np.array([[is_valid]]), texts))
    series = series_of(one, done.words[:, 0], done.is_valid[:, 0], done.texts)
    return series.to_list()[0]


ANY = 77
"""The word of what is not valid means nothing."""

VALUES: list[tuple[WindowFeature, int, bool, Any]] = [
    (feature("sum", "x", "float64"), bits_of(2.5), True, 2.5),
    (feature("sum", "x", "float64"), ANY, False, None),
    (feature("sum", "x", "float64", -7.5), ANY, False, -7.5),
    (feature("sum", "x", "float64", -7.5), bits_of(0.0), True, 0.0),
    (feature("std", "x", "float64"), bits_of(2.0), True, math.sqrt(2.0)),
    (feature("std", "x", "float64"), bits_of(5e-324), True, math.sqrt(5e-324)),
    (feature("std", "x", "float64"), bits_of(-1.0), False, None),
    (feature("std", "x", "float64", 9.0), bits_of(-1.0), False, 9.0),
    (feature("var", "x", "float64"), bits_of(2.0), True, 2.0),
    (feature("time_since_last", "x", "float64"), 1_500_000, True, 1.5),
    (feature("time_since_last", "x", "float64"), 1, True, 1e-6),
    (feature("time_since_last", "x", "float64", 60.0), ANY, False, 60.0),
    (feature("count", "x", "int64"), 0, True, 0),
    (feature("max", "n", "int64"), 2**63 - 1, True, 2**63 - 1),
    (feature("max", "n", "int64", -3), ANY, False, -3),
    (feature("last", "b", "bool"), 1, True, True),
    (feature("last", "b", "bool"), 0, True, False),
    (feature("last", "b", "bool", True), ANY, False, True),
    (feature("last", "b", "bool", False), ANY, False, False),
    (feature("last", "s", "string"), text_word("a"), True, "a"),
    (feature("last", "s", "string"), ANY, False, None),
    (feature("last", "s", "string", "none"), ANY, False, "none"),
    (feature("last", "s", "string", ""), text_word("a"), True, "a"),
]


@pytest.mark.parametrize(("one", "word", "is_valid", "expected"), VALUES)
def test_a_word_becomes_a_value_of_the_features_kind(
    one: WindowFeature, word: int, is_valid: bool, expected: Any
) -> None:
    found = finished(one, word, is_valid, {text_word("a"): "a"})
    assert (type(found), found) == (type(expected), expected)


def test_features_come_in_the_order_of_their_definition_whatever_the_kernels_is() -> None:
    features = [
        feature("time_since_last", "x", "float64"),
        WindowFeature("other", "visits", 5, "count", "int64"),
        feature("std", "x", "float64"),
        feature("count", "n", "int64"),
    ]
    layout = compile_layout(SOURCE, features)
    words = np.zeros((1, 3), np.int64)
    words[0, layout.order] = [2_000_000, bits_of(9.0), 4]
    done = Finisher(features, layout).finish(Answers(words, np.ones((1, 3), bool), {}))
    assert done.words.tolist() == [[bits_of(2.0), bits_of(3.0), 4]]


def test_a_key_without_events_has_counts_of_0_and_defaults() -> None:
    features = [
        feature("count", "x", "int64"), feature("distinct_count", "s", "int64"), feature("sum", "x", "float64"),
        feature("mean", "x", "float64", 1.5), feature("last", "s", "string", "none"),
    ]  # fmt: skip
    done = Finisher(features, compile_layout(SOURCE, features)).empty(2)
    columns = [
        series_of(one, done.words[:, place], done.is_valid[:, place], done.texts).to_list()
        for place, one in enumerate(features)
    ]
    assert columns == [[0, 0], [0, 0], [None, None], [1.5, 1.5], ["none", "none"]]


@pytest.mark.parametrize(
    ("kind", "given", "default", "expected"),
    [
        ("float64", pl.Series([1, None], dtype=pl.Int32), None, pl.Series("f", [1.0, None])),
        ("float64", pl.Series([1.5, None]), 0.0, pl.Series("f", [1.5, 0.0])),
        ("int64", pl.Series([2**53 + 1, None]), -1, pl.Series("f", [2**53 + 1, -1])),
        ("bool", pl.Series([None, False]), True, pl.Series("f", [True, False])),
        ("string", pl.Series([None, ""]), "?", pl.Series("f", ["?", ""])),
        ("string", pl.Series([None, ""]), None, pl.Series("f", [None, ""])),
    ],
)
def test_a_column_of_a_table_becomes_the_feature(
    kind: Kind, given: pl.Series, default: Any, expected: pl.Series
) -> None:
    found = finish_lookup(TableFeature("f", "people", "column", kind, default), given)
    assert found.equals(expected, check_dtypes=True, check_names=True)
