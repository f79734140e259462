"""The key of an entity as bytes: typed, so that look-alikes differ, and the same in every mode.

17 is `i17`, "JFK" `sJFK`, true `b1`. Several fields are joined by `|`, which a text writes as %7C, and % as %25.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from mlops_kit.errors import InputError, MissingColumnsError
from mlops_kit.features.definition.feature_set import Kind
from mlops_kit.schema import Array

EXPECTED: Final[dict[Kind, str]] = {
    "float64": "numbers",
    "int64": "whole numbers",
    "bool": "true or false",
    "string": "text",
}

MOST_BYTES: Final = 1024
"""Stores take no longer keys; what would be longer is `h` and its BLAKE2b (RFC 7693)."""

_LEAST, _LARGEST = -(2**63), 2**63 - 1


def encode_keys(frame: pl.DataFrame, columns: Sequence[str], kinds: Sequence[Kind]) -> tuple[Array, list[bytes]]:
    """Each row's place among the keys, int64, -1 where a field is null; and the keys, by first appearance.

    Raises MissingColumnsError; InputError for a column of another type than its kind.
    """
    fields = key_columns(frame, columns, kinds)
    codes, count = factorize(fields)
    rows = np.flatnonzero(codes >= 0)
    first = np.empty(count, np.int64)
    first[codes[rows[::-1]]] = rows[::-1]
    parts = [_prefixed(series, kind) for series, kind in zip(fields[first], kinds, strict=True)]
    texts = pl.select(pl.concat_str(parts, separator="|")).to_series() if count else pl.Series(dtype=pl.String)
    return codes, [_shortened(text.encode()) for text in texts.to_list()]


def encode_key(values: Sequence[Any], kinds: Sequence[Kind], names: Sequence[str] = ()) -> bytes | None:
    """One key; None if a field is. Raises InputError for a value of another type than its kind, called by its name
    if there are `names`.

    >>> encode_key([17, "a|b"], ["int64", "string"]), encode_key(["17"], ["string"])
    (b'i17|sa%7Cb', b's17')
    """
    parts = []
    for value, kind in zip(values, kinds, strict=True):
        if value is None:
            return None
        if kind == "string" and isinstance(value, str):
            text = value.replace("%", "%25").replace("|", "%7C") if "%" in value or "|" in value else value
            parts.append("s" + text)
        elif kind == "int64" and isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            if not _LEAST <= value <= _LARGEST:
                raise _unfit(len(parts), "a number beyond 64 bits", kind, names)
            parts.append(f"i{value}")
        elif kind == "bool" and isinstance(value, (bool, np.bool_)):
            parts.append("b1" if value else "b0")
        else:
            raise _unfit(len(parts), type(value).__name__, kind, names)
    try:
        return _shortened("|".join(parts).encode())
    except UnicodeEncodeError as error:
        raise _unfit(len(parts) - 1, "text that is not UTF-8", "string", names) from error


def key_columns(frame: pl.DataFrame, columns: Sequence[str], kinds: Sequence[Kind]) -> pl.DataFrame:
    """The columns of a key as int64, bool or text. Raises as above."""
    if missing := [name for name in columns if name not in frame.columns]:
        raise MissingColumnsError(missing, frame.columns)
    return pl.DataFrame([_typed(frame[name], kind) for name, kind in zip(columns, kinds, strict=True)])


def factorize(fields: pl.DataFrame) -> tuple[Array, int]:
    """Each row's place among the different rows, by first appearance, -1 where any field is null; how many differ.

    One column after the other, so that the numbers never exceed the square of the rows.
    """
    codes, count = _codes(fields.to_series(0))
    for series in fields.get_columns()[1:]:
        others, many = _codes(series)
        pairs = np.where((codes < 0) | (others < 0), -1, codes * many + others)
        codes, count = _codes(pl.Series(pairs).replace({-1: None}))
    return codes, count


def _codes(series: pl.Series) -> tuple[Array, int]:
    encoded = series.to_arrow().dictionary_encode()
    indices = pl.Series(encoded.indices.cast(pa.int64())).fill_null(-1)
    return indices.to_numpy(), len(encoded.dictionary)


def _typed(series: pl.Series, kind: Kind) -> pl.Series:
    dtype = series.dtype
    if kind == "string" and (dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum))):
        return series.cast(pl.String)
    if (kind == "bool" and dtype == pl.Boolean) or dtype == pl.Null:
        return series.cast(pl.Boolean)
    if kind == "int64" and dtype.is_integer():
        return _as_int64(series)
    expected = EXPECTED[kind]
    raise InputError(
        f"the key {series.name!r} is {dtype}",
        f"the features' keys are {expected}, and {dtype} never equals them",
        f"cast the column to {expected}, or define the key with its type",
    )


def _as_int64(series: pl.Series) -> pl.Series:
    try:
        return series.cast(pl.Int64)
    except pl.exceptions.InvalidOperationError as error:
        why = "there is one beyond 2^63 - 1"
        raise InputError(f"the key {series.name!r} has numbers that no 64-bit integer is", why) from error


def _prefixed(series: pl.Series, kind: Kind) -> pl.Series:
    if kind == "bool":
        return "b" + series.cast(pl.Int8).cast(pl.String)
    if kind == "int64":
        return "i" + series.cast(pl.String)
    return "s" + series.str.replace_all("%", "%25", literal=True).str.replace_all("|", "%7C", literal=True)


def _shortened(key: bytes) -> bytes:
    return key if len(key) <= MOST_BYTES else b"h" + hashlib.blake2b(key, digest_size=32).hexdigest().encode()


def _unfit(place: int, found: str, kind: Kind, names: Sequence[str]) -> InputError:
    """Without the value, which may be somebody's secret."""
    what = f"the key {names[place]!r} is {found}" if names else f"field {place + 1} of the key is {found}"
    return InputError(what, f"the features' keys have {EXPECTED[kind]} there")
