"""What conditions mean, against an independent reading of them; and every way to write a wrong one."""

import contextlib
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_kit.errors import InputError, MlkitError, UsageError
from mlops_kit.features.definition.expressions import Condition, parse_condition
from mlops_kit.features.definition.expressions.columns import DTYPES
from mlops_kit.features.definition.feature_set import Kind
from tests.features.definition.expressions.oracle import KINDS, ROWS, Written, conditions

COLUMNS: dict[str, Kind] = {
    "delay": "float64",
    "flight": "int64",
    "origin": "string",
    "cancelled": "bool",
    "a b": "int64",
}


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {name: DTYPES[kind] for name, kind in KINDS.items()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def parse(written: Written) -> Condition:
    """As it is written, with a column that does not matter: without any, a condition is refused."""
    return parse_condition(f"({written.text}) and (i is null or i is not null)", KINDS)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conditions(), ROWS)
def test_a_condition_means_what_plain_python_says(written: Written, rows: list[dict[str, Any]]) -> None:
    assert parse(written).mask(frame_of(rows)).tolist() == [written.value(row) is True for row in rows]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conditions(), ROWS)
def test_the_canonical_text_is_the_same_condition_and_stays_as_it_is(
    written: Written, rows: list[dict[str, Any]]
) -> None:
    condition = parse(written)
    again = parse_condition(condition.text, KINDS)
    frame = frame_of(rows)
    assert (again.text, again.columns) == (condition.text, condition.columns)
    assert again.mask(frame).tolist() == condition.mask(frame).tolist()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conditions(), ROWS)
def test_a_row_has_the_same_answer_alone(written: Written, rows: list[dict[str, Any]]) -> None:
    condition = parse(written)
    alone = [bool(condition.mask(frame_of([row]))[0]) for row in rows]
    assert condition.mask(frame_of(rows)).tolist() == alone


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab1.5e'\"()<>=!+-*/, notidulrsw\n\\;é\x00", max_size=40))
def test_no_text_whatever_does_more_than_be_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        condition = parse_condition(text, {"a": "int64", "b": "bool", "d": "string"})
        frame = pl.DataFrame({"a": [1, None], "b": [True, None], "d": ["x", None]})
        assert condition.mask(frame).shape == (2,)


CANONICAL = {
    "delay>0": "delay > 0",
    "((delay)) <> 1.50": "delay != 1.5",
    "delay == 1e3 AND Not cancelled": "delay = 1000.0 and not cancelled",
    "(delay > 0 or flight = 1) and cancelled": "(delay > 0 or flight = 1) and cancelled",
    "delay > 0 or (flight = 1 and cancelled)": "delay > 0 or flight = 1 and cancelled",
    "cancelled and (cancelled and delay > 0)": "cancelled and cancelled and delay > 0",
    "delay - (flight - 1) > (delay - flight) - 1": "delay - (flight - 1) > delay - flight - 1",
    "delay * (flight + 1) / 2 > -(-5)": "delay * (flight + 1) / 2 > -(-5)",
    "\"origin\" in ('it''s', 'b')": "origin in ('it''s', 'b')",
    '"a b" not in (1,-2)': '"a b" not in (1, -2)',
    "flight = -9223372036854775808": "flight = -9223372036854775808",
    "(delay > 0) = cancelled": "(delay > 0) = cancelled",
    "(delay > 0) is null": "(delay > 0) is null",
    "not not cancelled": "not not cancelled",
}  # fmt: skip


@pytest.mark.parametrize(("text", "canonical"), CANONICAL.items())
def test_there_is_one_way_to_write_a_condition(text: str, canonical: str) -> None:
    assert parse_condition(text, COLUMNS).text == canonical


WRONG = {
    "": (1, "the end where a value should be"),
    "delay": (1, "a number, not true or false"),
    "delay >": (8, "the end where a value should be"),
    "dely > 1": (1, "did you mean 'delay' for 'dely'?"),
    "Delay > 1": (1, "did you mean 'delay' for 'Delay'?"),
    "delay > '1'": (9, "write it without quotation marks"),
    "origin = 5": (10, "write it as text: '5'"),
    "origin = JFK": (10, "a text is in single quotation marks"),
    'origin = "JFK"': (10, "a text is in single quotation marks"),
    "origin + 1 > 2": (1, "'+' takes numbers, and this is text"),
    "delay * cancelled > 2": (9, "'*' takes numbers, and this is true or false"),
    "-origin = 'a'": (2, "'-' takes numbers"),
    "cancelled > true": (11, "truth values have no order"),
    "delay and cancelled": (1, "'and' joins conditions, and this is a number"),
    "cancelled or delay": (14, "a number, not true or false"),
    "not delay": (5, "a number, not true or false"),
    "1 < delay < 5": (11, "compare two at a time"),
    "delay > 0 cancelled": (11, "join conditions with and or or"),
    "delay = null": (9, "compare with is null"),
    "delay is 5": (10, "'null' should be"),
    "origin in ()": (12, "should be"),
    "origin in ('a', 5)": (17, "a whole number is compared with text"),
    "flight in (flight)": (12, "compare columns with ="),
    "origin not 'a'": (12, "'in' should be"),
    "(delay > 0": (11, "')' should be"),
    "delay > 0)": (10, "does not go on"),
    "delay > 1x": (9, "does not begin with a digit"),
    "origin = 'a": (10, "the quotation that begins here does not end"),
    "delay > 0; drop": (10, "no sign of this language"),
    "delay > 9223372036854775808": (9, "too large for int64"),
    "delay > 1e999": (9, "infinite"),
    "__import__('os') = 1": (1, "no column '__import__'"),
    "1 = 1": (1, "looks at no column"),
    "(" * 40 + "delay" + ")" * 40 + " > 1": (34, "nested more than 32 deep"),
    "not " * 40 + "cancelled": (133, "nested more than 32 deep"),
    "delay > " + "-" * 2000 + "1": (42, "nested more than 32 deep"),
    "delay > 1 or " * 400 + "cancelled": (4097, "longer than 4,096 characters"),
    "origin = '\ud800'": (11, "is no text"),
}


@pytest.mark.parametrize(
    ("text", "place", "message"), [(text, *rest) for text, rest in WRONG.items()], ids=range(len(WRONG))
)
def test_a_wrong_condition_is_refused_at_its_place(text: str, place: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_condition(text, COLUMNS)
    assert f"is wrong at character {place}." in str(caught.value)
    assert message in str(caught.value)


def test_a_long_chain_needs_no_deep_stack() -> None:
    condition = parse_condition("a" + "+1" * 2000 + " > 2000", {"a": "int64"})
    assert condition.mask(pl.DataFrame({"a": [0, 1]})).tolist() == [False, True]


def test_narrow_columns_are_widened() -> None:
    frame = pl.DataFrame(
        {"i": [255, None], "x": [0.5, float("nan")], "s": ["a", None], "y": [1, 2], "b": [None, None]},
        schema={"i": pl.UInt8, "x": pl.Float32, "s": pl.Categorical, "y": pl.Int64, "b": pl.Null},
    )
    kinds: dict[str, Kind] = {"i": "int64", "x": "float64", "s": "string", "y": "float64", "b": "bool"}
    condition = parse_condition("i + 1 = 256 and x = 0.5 and s = 'a' and y / 2 = 0.5 and b is null", kinds)
    assert condition.mask(frame).tolist() == [True, False]


BAD_COLUMNS = {
    "missing": (pl.DataFrame({"y": [1]}), "missing column: 'x'"),
    "text": (pl.DataFrame({"x": ["1"]}), "'x' is String where its definition says int64"),
    "a float": (pl.DataFrame({"x": [1.0]}), "'x' is Float64 where its definition says int64"),
    "beyond int64": (pl.DataFrame({"x": [2**63]}, schema={"x": pl.UInt64}), "'x' has a number beyond int64"),
}


@pytest.mark.parametrize(("frame", "message"), BAD_COLUMNS.values(), ids=BAD_COLUMNS)
def test_a_column_of_another_kind_is_refused(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_condition("x > 0", {"x": "int64"}).mask(frame)
    assert isinstance(caught.value, MlkitError)


def test_no_rows_give_no_answers() -> None:
    frame = pl.DataFrame(schema={"x": pl.Int64, "s": pl.String})
    mask = parse_condition("x > 1 and s in ('a') or 'a' < s", {"x": "int64", "s": "string"}).mask(frame)
    assert mask.dtype == np.bool_
    assert mask.shape == (0,)
