"""Times and values as they are on entry."""

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from mlops_kit.errors import InputError
from mlops_kit.features.definition.feature_set import Kind
from mlops_kit.features.values import LAST_US, normal_values, times_us

NOON = 1_714_564_800_000_000


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (pl.Series([-1, 1500]).cast(pl.Datetime("ns")), [-1, 1]),
        (pl.Series([7]).cast(pl.Datetime("us", "Europe/Berlin")), [7]),
        (pl.Series([-1]).cast(pl.Datetime("ms")), [-1000]),
        (pl.Series([2**62]).cast(pl.Datetime("ms")), [LAST_US + 1]),
        (pl.Series([date(1970, 1, 2)]), [86_400_000_000]),
        (pl.Series([NOON, None]), [NOON, None]),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), [None]),
        (pl.Series(["2024-05-01T12:00:00Z", "2024-05-01T14:00:00+02:00", "2024-05-01T12:00Z"]), [NOON] * 3),
        (pl.Series(["2024-05-01T12:00:00", "2024-05-01 12:00:00.0000019", "2024-05-01", "noon", None]),
         [NOON, NOON + 1, NOON - 43_200_000_000, None, None]),
    ],
)  # fmt: skip
def test_times_are_microseconds_in_utc(series: pl.Series, expected: list[int | None]) -> None:
    assert times_us(series).to_list() == expected


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(InputError, match="is Float64, and no time"):
        times_us(pl.Series("t", [1.5]))


@pytest.mark.parametrize(
    ("series", "kind", "expected", "unfit"),
    [
        (
            pl.Series([-0.0, float("nan"), None, 0.1], dtype=pl.Float32),
            "float64",
            [0.0, None, None, 0.10000000149011612],
            0,
        ),
        (pl.Series([Decimal("1.5")]), "float64", [1.5], 0),
        (pl.Series([1, None]), "float64", [1.0, None], 0),
        (pl.Series([1.0, float("nan"), 1.5, 2.0**63, -(2.0**63)]), "int64", [1, None, None, None, -(2**63)], 2),
        (pl.Series([2**64 - 1, 3], dtype=pl.UInt64), "int64", [None, 3], 1),
        (pl.Series(["a"], dtype=pl.Categorical), "string", ["a"], 0),
        (pl.Series([None]), "string", [None], 0),
    ],
)
def test_values_have_the_type_of_their_definition(
    series: pl.Series, kind: Kind, expected: list[Any], unfit: int
) -> None:
    values, is_unfit = normal_values(series, kind)
    assert is_unfit.sum() == unfit
    kept = [None if bad else value for value, bad in zip(values, is_unfit, strict=True)]
    assert [repr(value) for value in kept] == [repr(value) for value in expected]


@pytest.mark.parametrize(("value", "kind"), [("1", "float64"), (True, "float64"), (1, "bool"), (1, "string")])
def test_a_column_of_another_type_is_refused(value: Any, kind: Kind) -> None:
    with pytest.raises(InputError, match="column 'x' is"):
        normal_values(pl.Series("x", [value]), kind)
