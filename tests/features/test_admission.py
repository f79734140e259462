"""Which events count, and what the kernel gets of them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

from mlops_kit.errors import InputError, MissingColumnsError
from mlops_kit.features.admission import FIRST_CONDITION, Admitted, Refusals, admit, judge_sequence
from mlops_kit.features.definition.feature_set import EventSource, Field, KeyField, WindowFeature
from mlops_kit.features.kernel.windows import text_word
from mlops_kit.features.layout import compile_layout
from mlops_kit.features.values import LAST_US

FIELDS = (Field("b", "bool"), Field("n", "int64"), Field("s", "string"), Field("x", "float64"))
SOURCE = EventSource("clicks", (KeyField("user", "user", "int64"),), "at", FIELDS)
WINDOWS = (
    WindowFeature("last_b", "clicks", 10, "last", "bool", "b"),
    WindowFeature("last_n", "clicks", 10, "last", "int64", "n"),
    WindowFeature("last_s", "clicks", 10, "last", "string", "s"),
    WindowFeature("sum_x", "clicks", 10, "sum", "float64", "x", condition="n is not null"),
    WindowFeature("few", "clicks", 10, "count", "int64", condition="x > 1.0"),
)
LAYOUT = compile_layout(SOURCE, WINDOWS)
GOOD: Mapping[str, Any] = {"user": 7, "at": 5, "b": True, "n": 3, "s": "a", "x": 0.5}
SCHEMA = {
    "user": pl.Int64, "at": pl.Int64, "b": pl.Boolean, "n": pl.Int64, "s": pl.String, "x": pl.Float64
}  # fmt: skip


def admitted(*changes: Mapping[str, Any], **dtypes: Any) -> Admitted:
    """What becomes of good rows with these changes."""
    frame = pl.DataFrame([{**GOOD, **change} for change in changes], schema={**SCHEMA, **dtypes})
    return admit(frame, SOURCE, LAYOUT, np.arange(100, 100 + len(changes)))


def bits_of(float_: float) -> int:
    return int(np.float64(float_).view(np.int64))


def test_the_layout_is_as_the_tables_here_say() -> None:
    assert LAYOUT.columns == ("b", "n", "s", "x")
    assert LAYOUT.conditions == ("n is not null", "x > 1.0")


VALUES = [
    ({}, 0b1111, [1, 3, text_word("a"), bits_of(0.5)], [True, False]),
    ({"b": False}, 0b1111, [0, 3, text_word("a"), bits_of(0.5)], [True, False]),
    ({"b": None, "n": None, "s": None, "x": None}, 0b0000, None, [False, False]),
    ({"x": math.nan}, 0b0111, None, [True, False]),
    ({"x": -0.0}, 0b1111, [1, 3, text_word("a"), bits_of(0.0)], [True, False]),
    ({"x": 5e-324}, 0b1111, [1, 3, text_word("a"), 1], [True, False]),
    ({"x": 2.0, "n": None}, 0b1101, None, [False, True]),
    ({"n": -(2**63), "s": ""}, 0b1111, [1, -(2**63), text_word(""), bits_of(0.5)], [True, False]),
]


@pytest.mark.parametrize(("change", "has_value", "words", "meets"), VALUES)
def test_values_become_words_and_bits(
    change: Mapping[str, Any], has_value: int, words: list[int] | None, meets: list[bool]
) -> None:
    (found,) = admitted(change).words.tolist()
    assert found[0] & (1 << FIRST_CONDITION) - 1 == has_value
    assert [bool(found[0] >> FIRST_CONDITION + place & 1) for place in range(2)] == meets
    assert words is None or found[1:] == words


REFUSED = [
    ({"at": None}, "'at' is null, or no time"),
    ({"at": -1}, "'at' is before 1970"),
    ({"at": LAST_US + 1}, "'at' is after the year 9999"),
    ({"user": None}, "the key 'user' is null"),
    ({"x": math.inf}, "'x' is infinite"),
    ({"x": -math.inf}, "'x' is infinite"),
    ({"user": None, "at": None, "x": math.inf}, "'at' is null, or no time"),
]


@pytest.mark.parametrize(("change", "reason"), REFUSED)
def test_an_event_that_cannot_count_is_left_out_for_its_first_reason(
    change: Mapping[str, Any], reason: str
) -> None:
    found = admitted({"user": 1}, change, {"user": 2})
    assert {why: rows.tolist() for why, rows in found.refused.items()} == {reason: [1]}
    assert found.seq.tolist() == [100, 102]
    assert [found.keys[code] for code in found.codes.tolist()] == [b"i1", b"i2"]
    assert found.ts.tolist() == [5, 5]


@pytest.mark.parametrize("at", [0, LAST_US])
def test_the_first_and_the_last_time_count(at: int) -> None:
    assert admitted({"at": at}).ts.tolist() == [at]


def test_rows_refused_for_one_reason_by_several_columns_are_each_told_once() -> None:
    source = EventSource("clicks", SOURCE.key, "at", (Field("x", "float64"), Field("y", "float64")))
    windows = [WindowFeature(name, "clicks", 10, "sum", "float64", name) for name in ("x", "y")]
    frame = pl.DataFrame(
        {"user": [1] * 3, "at": [1] * 3, "x": [math.inf, 0.0, math.inf], "y": [0.0, math.inf, math.inf]}
    )
    found = admit(frame, source, compile_layout(source, windows), np.arange(3))
    assert {why: rows.tolist() for why, rows in found.refused.items()} == {
        "'x' is infinite": [0, 2],
        "'y' is infinite": [1],
    }


def test_an_infinity_in_a_column_that_no_feature_looks_at_does_not_matter() -> None:
    layout = compile_layout(SOURCE, WINDOWS[:3])
    frame = pl.DataFrame([{**GOOD, "x": math.inf}], schema=SCHEMA)
    assert not admit(frame, SOURCE, layout, np.arange(1)).refused


def test_a_column_that_only_a_condition_looks_at_is_judged_too() -> None:
    layout = compile_layout(SOURCE, WINDOWS[4:])
    frame = pl.DataFrame([{**GOOD, "x": math.inf}], schema=SCHEMA)
    assert layout.columns == ()
    assert list(admit(frame, SOURCE, layout, np.arange(1)).refused) == ["'x' is infinite"]


@pytest.mark.parametrize(
    ("n", "dtype", "is_refused"),
    [
        (3.0, pl.Float64, False),
        (3.5, pl.Float64, True),
        (2**64 - 1, pl.UInt64, True),
        (math.nan, pl.Float64, False),
    ],
)
def test_numbers_that_are_not_whole_are_refused_where_whole_ones_are_wanted(
    n: Any, dtype: Any, is_refused: bool
) -> None:
    assert list(admitted({"n": n}, n=dtype).refused) == ["'n' is no whole number of 64 bits"] * is_refused


def test_texts_are_told_where_a_feature_gives_one_back() -> None:
    assert admitted({"s": "ä"}, {"s": None}, {"s": "ä"}).texts == {text_word("ä"): "ä"}
    frame = pl.DataFrame([GOOD], schema=SCHEMA)
    distinct = WindowFeature("d", "clicks", 10, "distinct_count", "int64", "s")
    assert admit(frame, SOURCE, compile_layout(SOURCE, [distinct]), np.arange(1)).texts == {}


@pytest.mark.parametrize("missing", ["user", "at", "x"])
def test_a_column_that_is_missing_is_an_error(missing: str) -> None:
    frame = pl.DataFrame([GOOD], schema=SCHEMA).drop(missing)
    with pytest.raises(MissingColumnsError, match=missing):
        admit(frame, SOURCE, LAYOUT, np.arange(1))


@pytest.mark.parametrize(
    ("column", "dtype"), [("user", pl.String), ("b", pl.Int64), ("s", pl.Int64), ("x", pl.String)]
)
def test_a_column_of_another_type_is_an_error(column: str, dtype: Any) -> None:
    frame = pl.DataFrame([GOOD], schema=SCHEMA).with_columns(pl.lit(None).cast(dtype).alias(column))
    with pytest.raises(InputError, match=f"'{column}' is"):
        admit(frame, SOURCE, LAYOUT, np.arange(1))


def test_nothing_is_admitted_of_nothing() -> None:
    found = admitted()
    assert (len(found.keys), found.words.shape, found.refused) == (0, (0, 5), {})


@pytest.mark.parametrize(
    ("numbers", "expected", "refused"),
    [([4, 9], [4, 9], []), ([4, None], [4, 0], [1]), ([-1, 0], [-1, 0], [0]), ([1.5, 2.0], [0, 2], [0])],
)
def test_events_have_their_own_numbers_if_the_source_has_a_column_for_them(
    numbers: list[Any], expected: list[int], refused: list[int]
) -> None:
    source = EventSource("clicks", SOURCE.key, "at", (), sequence="seq")
    refusals = Refusals(2)
    found = judge_sequence(pl.DataFrame({"seq": numbers}), source, 50, refusals)
    assert [found[row] for row in range(2) if row not in refused] == [
        number for row, number in enumerate(expected) if row not in refused
    ]
    assert np.flatnonzero(refusals.is_refused).tolist() == refused


def test_events_without_a_number_have_that_of_their_row() -> None:
    assert judge_sequence(pl.DataFrame({"x": [1, 2]}), SOURCE, 50, Refusals(2)).tolist() == [50, 51]
