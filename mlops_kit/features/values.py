"""What values and times become on entry, whatever file, frame or request they come from."""

from typing import Final

import polars as pl

from mlops_kit.errors import InputError
from mlops_kit.features.definition.expressions.columns import DTYPES
from mlops_kit.features.definition.feature_set import Kind
from mlops_kit.features.keys import EXPECTED

ISO_8601: Final = ("%+", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d")
"""With a zone or without; the first is by far the commonest."""

US_PER_DAY: Final = 86_400_000_000
LAST_US: Final = 2_932_897 * US_PER_DAY - 1
"""The end of the year 9999. Beyond it are nanoseconds that were taken for microseconds."""


def times_us(series: pl.Series) -> pl.Series:
    """Microseconds since 1970 in UTC: int64, rounded down, null for text that is no ISO 8601.

    Times without a zone are UTC, dates are their first moment, whole numbers are microseconds. Raises InputError
    for a column that cannot be times.
    """
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime):
        return _of_unit(series.to_physical(), dtype.time_unit)
    if dtype == pl.Date:
        return series.to_physical().cast(pl.Int64) * US_PER_DAY
    if dtype.is_integer() or dtype == pl.Null:
        return series.cast(pl.Int64, strict=False)
    if dtype == pl.String:
        return _parsed(series)
    raise InputError(
        f"column {series.name!r} is {dtype}, and no time",
        "times are timestamps, dates, text such as 2024-05-01T12:00:00Z, or whole microseconds since 1970",
        "name another column, or cast it",
    )


def normal_values(series: pl.Series, kind: Kind) -> tuple[pl.Series, pl.Series]:
    """The values as float64, int64, bool or text, null where there is none (NaN is none); and which cannot be
    that: numbers that are not whole, or beyond 64 bits. -0.0 becomes 0.0.

    Raises InputError for a column of another type.
    """
    dtype = series.dtype
    unfit = pl.repeat(False, len(series), dtype=pl.Boolean, eager=True)
    if dtype == pl.Null:
        return series.cast(DTYPES[kind]), unfit
    if kind == "float64" and dtype.is_numeric():
        # Polars would leave the addition out, and -0.0 as it is.
        return pl.Series(series.name, series.cast(pl.Float64).to_numpy() + 0.0, nan_to_null=True), unfit
    if kind == "int64" and dtype.is_numeric():
        series = series.fill_nan(None) if dtype.is_float() else series
        values = series.cast(pl.Int64, strict=False)
        differs = values.is_null() if dtype.is_integer() else (values != series).fill_null(True)
        return values, series.is_not_null() & differs
    if kind == "bool" and dtype == pl.Boolean:
        return series, unfit
    if kind == "string" and (dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum))):
        return series.cast(pl.String), unfit
    raise InputError(
        f"column {series.name!r} is {dtype}",
        f"the features' definition has {EXPECTED[kind]} there",
        "cast it, or write the definition for what the column has",
    )


def _of_unit(counted: pl.Series, unit: str) -> pl.Series:
    if unit == "ns":
        return counted // 1000
    # Beyond the year 9999 in milliseconds, the product would wrap around; such a time is refused in any case.
    return counted if unit == "us" else counted.clip(-LAST_US // 1000, LAST_US // 1000 + 1) * 1000


def _parsed(texts: pl.Series) -> pl.Series:
    times = pl.repeat(None, len(texts), dtype=pl.Int64, eager=True).alias(texts.name)
    for form in ISO_8601:
        if times.null_count() == texts.null_count():
            break
        parsed = texts.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)
        times = times.zip_with(times.is_not_null(), parsed.to_physical())
    return times
