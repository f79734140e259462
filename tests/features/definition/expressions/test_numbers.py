"""Where integers end, where floats do, and between the two: every pair of numbers that is an edge of something."""

import math
import operator
from itertools import product

import polars as pl
import pytest

from mlops_kit.features.definition.expressions import parse_condition
from mlops_kit.features.definition.feature_set import Kind

LEAST, MOST = -(2**63), 2**63 - 1
INTS = [
    LEAST,
    LEAST + 1,
    -(2**53) - 1,
    -3037000500,
    -2,
    -1,
    0,
    1,
    2,
    7,
    3037000500,
    2**53,
    2**53 + 1,
    2**62,
    MOST - 1,
    MOST,
]
FLOATS = [
    *(-math.inf, -1e308, -(2.0**63), -(2.0**63) - 2048, -(2.0**53), -1.5, -1.0, -5e-324, -0.0, 0.0, 5e-324, 0.5, 1.0),
    *(6.5, 7.0, 2.0**53, 2.0**53 + 2, 2.0**62, 2.0**63 - 1024, 2.0**63, 1e308, math.inf),
]  # fmt: skip
COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
CALCULATE = {"+": operator.add, "-": operator.sub, "*": operator.mul}
KINDS: dict[str, Kind] = {"i": "int64", "j": "int64", "x": "float64", "y": "float64", "result": "float64"}


@pytest.mark.parametrize("sign", COMPARE)
def test_whole_numbers_and_floats_are_compared_exactly(sign: str) -> None:
    pairs = list(product(INTS, FLOATS))
    frame = pl.DataFrame(pairs, schema={"i": pl.Int64, "x": pl.Float64}, orient="row")
    assert parse_condition(f"i {sign} x", KINDS).mask(frame).tolist() == [COMPARE[sign](i, x) for i, x in pairs]
    assert parse_condition(f"x {sign} i", KINDS).mask(frame).tolist() == [COMPARE[sign](x, i) for i, x in pairs]


@pytest.mark.parametrize("sign", CALCULATE)
def test_whole_numbers_are_exact_and_null_beyond_64_bits(sign: str) -> None:
    pairs = list(product(INTS, INTS))
    results = [CALCULATE[sign](i, j) for i, j in pairs]
    kept = [result if LEAST <= result <= MOST else None for result in results]
    frame = pl.DataFrame(
        {"i": [i for i, _ in pairs], "j": [j for _, j in pairs], "result": kept},
        schema_overrides={"result": pl.Int64},
    )
    kinds: dict[str, Kind] = KINDS | {"result": "int64"}
    expected = [result is not None for result in kept]
    assert parse_condition(f"i {sign} j is not null", kinds).mask(frame).tolist() == expected
    assert parse_condition(f"i {sign} j = result", kinds).mask(frame).tolist() == expected


def test_the_negative_of_the_least_number_is_null() -> None:
    frame = pl.DataFrame({"i": INTS})
    assert parse_condition("-i is null", KINDS).mask(frame).tolist() == [i == LEAST for i in INTS]


@pytest.mark.parametrize("names", ["xy", "iy", "xj"])
@pytest.mark.parametrize("sign", [*CALCULATE, "/"])
def test_floats_are_calculated_as_python_does_and_what_is_no_number_is_null(sign: str, names: str) -> None:
    one, two = (INTS if name in "ij" else FLOATS for name in names)
    pairs = list(product(one, two))
    results = [_calculated(sign, float(a), float(b)) for a, b in pairs]
    frame = pl.DataFrame({names[0]: [a for a, _ in pairs], names[1]: [b for _, b in pairs], "result": results})
    expected = [result is not None for result in results]
    text = f"{names[0]} {sign} {names[1]}"
    assert parse_condition(f"{text} is not null", KINDS).mask(frame).tolist() == expected
    assert parse_condition(f"{text} = result", KINDS).mask(frame).tolist() == expected


def test_whole_numbers_are_divided_as_floats() -> None:
    pairs = list(product(INTS, INTS))
    results = [_calculated("/", float(i), float(j)) for i, j in pairs]
    frame = pl.DataFrame({"i": [i for i, _ in pairs], "j": [j for _, j in pairs], "result": results})
    assert parse_condition("i / j = result", KINDS).mask(frame).tolist() == [
        result is not None for result in results
    ]


@pytest.mark.parametrize("listed", [INTS, FLOATS[1:-1], [*INTS, *FLOATS[1:-1]]], ids=["ints", "floats", "both"])
def test_a_list_has_exactly_its_numbers(listed: list[float]) -> None:
    # Every second one, so that near misses are asked for.
    constants = listed[::2]
    text = ", ".join(map(repr, constants))
    frame = pl.DataFrame({"i": INTS, "x": FLOATS[: len(INTS)]}), pl.DataFrame({"i": INTS[:6], "x": FLOATS[-6:]})
    for part in frame:
        for name in "ix":
            values = part[name].to_list()
            expected = [value in constants for value in values]
            assert parse_condition(f"{name} in ({text})", KINDS).mask(part).tolist() == expected
            assert parse_condition(f"{name} not in ({text})", KINDS).mask(part).tolist() == [
                not e for e in expected
            ]


def test_nan_is_null() -> None:
    frame = pl.DataFrame({"x": [math.nan, None, 1.0]})
    for text in ("x is null", "not (x is not null)", "x * 0 is null", "(x in (1.0)) is null"):
        assert parse_condition(text, KINDS).mask(frame).tolist() == [True, True, False]
    for text in ("x != 2", "not x = 2", "not x > 5", "x not in (2.0)"):
        assert parse_condition(text, KINDS).mask(frame).tolist() == [False, False, True]


def _calculated(sign: str, a: float, b: float) -> float | None:
    if sign == "/" and b == 0:
        return None
    result: float = (CALCULATE | {"/": operator.truediv})[sign](a, b)
    return None if math.isnan(result) else result
