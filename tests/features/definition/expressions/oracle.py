"""Random conditions with what they mean, in plain Python: whole numbers without bounds, fractions, None for null."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from mlops_kit.features.definition.feature_set import Kind

KINDS: dict[str, Kind] = {
    "i": "int64",
    "j": "int64",
    "x": "float64",
    "y": "float64",
    "s": "string",
    "t": "string",
    "b": "bool",
    "not": "bool",
}
COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
SPELLINGS = {"=": ("=", "=="), "!=": ("!=", "<>")}
LEAST, MOST = -(2**63), 2**63 - 1

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Written:
    """A part of a condition as somebody might write it, its kind, and its value for a row."""

    text: str
    kind: str
    value: Callable[[Row], Any]


INTS = st.one_of(
    st.integers(-3, 3), st.sampled_from([LEAST, LEAST + 1, MOST, 2**53, 2**53 + 1, 3037000500, -3037000500])
)
FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, -1.5, 1.0, 2.0**53, 2.0**63, -(2.0**63), 1e308, 5e-324, 2.0**53 + 2]),
    st.floats(allow_nan=False, allow_infinity=False),
)
TEXTS = st.one_of(st.sampled_from(["", "JFK", "it's", "a", "b", "é", "😀", "\uffff"]), st.text(max_size=3))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            name: st.none()
            | {
                "int64": INTS,
                "float64": FLOATS | st.sampled_from([math.nan, math.inf, -math.inf]),
                "string": TEXTS.filter(lambda text: text.isprintable()),
                "bool": st.booleans(),
            }[kind]
            for name, kind in KINDS.items()
        }
    ),
    max_size=12,
)


def _null_of_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


@st.composite
def columns(draw: Any, *kinds: str) -> Written:
    name = draw(st.sampled_from([name for name, kind in KINDS.items() if kind in kinds]))
    text = f'"{name}"' if name == "not" or draw(st.booleans()) else name
    return Written(text, KINDS[name], lambda row: _null_of_nan(row[name]))


@st.composite
def constants(draw: Any, kind: str) -> Written:
    if kind == "string":
        text = draw(TEXTS.filter(lambda text: text.isprintable()))
        return Written("'" + text.replace("'", "''") + "'", kind, lambda row: text)
    if kind == "bool":
        truth = draw(st.booleans())
        return Written(str(truth).upper() if draw(st.booleans()) else str(truth).lower(), kind, lambda row: truth)
    number = draw(INTS if kind == "int64" else FLOATS)
    return Written(repr(number), kind, lambda row: number)


def _apply(sign: str, a: Any, b: Any, is_whole: bool) -> Any:
    if a is None or b is None:
        return None
    if is_whole:
        result = {"+": operator.add, "-": operator.sub, "*": operator.mul}[sign](a, b)
        return result if LEAST <= result <= MOST else None
    a, b = float(a), float(b)
    if sign == "/":
        if b == 0:
            return None
        return _null_of_nan(a / b)
    return _null_of_nan({"+": operator.add, "-": operator.sub, "*": operator.mul}[sign](a, b))


@st.composite
def numbers(draw: Any, depth: int = 2) -> Written:
    if depth == 0 or draw(st.booleans()):
        kind = draw(st.sampled_from(["int64", "float64"]))
        return draw(columns(kind) if draw(st.integers(0, 2)) else constants(kind))
    if draw(st.integers(0, 4)) == 0:
        inner = draw(numbers(depth - 1))
        return Written(
            f"-({inner.text})", inner.kind, lambda row: _apply("-", 0, inner.value(row), inner.kind == "int64")
        )
    left, right = draw(numbers(depth - 1)), draw(numbers(depth - 1))
    sign = draw(st.sampled_from("+-*/"))
    is_whole = sign != "/" and left.kind == right.kind == "int64"
    return Written(
        f"(({left.text}){sign}({right.text}))",
        "int64" if is_whole else "float64",
        lambda row: _apply(sign, left.value(row), right.value(row), is_whole),
    )


def _operands(kind: str) -> Any:
    return numbers() if kind in ("int64", "float64") else columns(kind) | constants(kind)


@st.composite
def predicates(draw: Any) -> Written:
    kind = draw(st.sampled_from(["int64", "string", "bool"]))
    left = draw(_operands(kind))
    form = draw(st.sampled_from(["compare", "compare", "null", "in"]))
    if form == "null":
        is_not = draw(st.booleans())
        text = f"{left.text} IS {'Not ' if is_not else ''}null"
        return Written(text, "bool", lambda row: (left.value(row) is None) != is_not)
    if form == "in":
        kinds = ["int64", "float64"] if kind == "int64" else [kind]
        listed = draw(st.lists(st.sampled_from(kinds).flatmap(constants), min_size=1, max_size=4))
        is_not = draw(st.booleans())
        text = f"{left.text} {'NOT ' if is_not else ''}in ({', '.join(item.text for item in listed)})"
        found = [item.value({}) for item in listed]
        return Written(
            text, "bool", lambda row: None if left.value(row) is None else (left.value(row) in found) != is_not
        )
    right = draw(_operands(kind))
    sign = draw(st.sampled_from(["=", "!="] if kind == "bool" else sorted(COMPARE)))
    spelling = draw(st.sampled_from(SPELLINGS.get(sign, (sign,))))

    def value(row: Row) -> Any:
        a, b = left.value(row), right.value(row)
        return None if a is None or b is None else COMPARE[sign](a, b)

    space = draw(st.sampled_from(["", " ", " \n"]))
    return Written(f"{left.text}{space}{spelling} {right.text}", "bool", value)


@st.composite
def conditions(draw: Any, depth: int = 3) -> Written:
    form = draw(st.sampled_from(["leaf", "not", "and", "or"])) if depth else "leaf"
    if form == "leaf":
        return draw(predicates())
    if form == "not":
        inner = draw(conditions(depth - 1))
        return Written(f"not ({inner.text})", "bool", lambda row: _not(inner.value(row)))
    parts = draw(st.lists(conditions(depth - 1), min_size=2, max_size=3))
    text = f" {draw(st.sampled_from([form, form.upper()]))} ".join(f"({part.text})" for part in parts)
    decisive = form == "or"

    def value(row: Row) -> Any:
        values = [part.value(row) for part in parts]
        return decisive if decisive in values else None if None in values else not decisive

    return Written(text, "bool", value)


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value
