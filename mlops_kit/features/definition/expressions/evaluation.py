"""What a condition is for each row: a value, and whether there is one.

Every step is one of NumPy's or Polars' that looks at a row alone, so that no batch changes an answer.
"""

from collections.abc import Mapping, Sequence
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final, TypeAlias, cast

import numpy as np
import polars as pl

from mlops_kit.features.definition.expressions.columns import typed_column
from mlops_kit.features.definition.expressions.tree import (
    Arithmetic,
    Column,
    Comparison,
    Constant,
    Junction,
    Membership,
    Negative,
    Node,
    Not,
    NullTest,
    Operator,
)
from mlops_kit.schema import Array

COMPARE: Final[Mapping[Operator, Any]] = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
LEAST_INT: Final = np.int64(-(2**63))
BEYOND_INT: Final = 2.0**63

Values: TypeAlias = tuple[Array, Array]
"""Numbers or truth values, and which of them are there; of shape (rows,), or (1,) where no column is looked at."""


def evaluate(node: Node, frame: pl.DataFrame) -> Values:
    """The values of a node that is no text. Raises InputError for columns that are missing or of another kind."""
    match node:
        case Constant(value, kind):
            return np.array([value], kind), np.array([True])
        case Column(name, kind):
            return _column(typed_column(frame, name, kind))
        case Negative(operand):
            return _calculate("-", (np.zeros(1, node.kind), np.array([True])), evaluate(operand, frame))
        case Arithmetic(first, rest):
            values = evaluate(first, frame)
            for sign, operand in rest:
                values = _calculate(sign, values, evaluate(operand, frame))
            return values
        case Comparison(operator, left, right):
            return _compare(operator, left, right, frame)
        case NullTest(operand, is_negated):
            is_there = _text(operand, frame)[1] if operand.kind == "string" else evaluate(operand, frame)[1]
            return is_there == is_negated, np.array([True])
        case Membership(operand, constants, is_negated):
            is_in, is_there = _find(operand, [constant.value for constant in constants], frame)
            return is_in != is_negated, is_there
        case Not(operand):
            truth, is_there = evaluate(operand, frame)
            return ~truth, is_there
        case Junction(word, parts):
            return _join([evaluate(part, frame) for part in parts], decisive=word == "or")


def _column(series: pl.Series) -> Values:
    is_there = series.is_not_null().to_numpy()
    if series.dtype == pl.Boolean:
        return series.fill_null(False).to_numpy(), is_there
    values = series.fill_null(0).to_numpy()
    return values, is_there & ~np.isnan(values) if series.dtype == pl.Float64 else is_there


def _text(node: Node, frame: pl.DataFrame) -> tuple[pl.Series, Array]:
    """Texts are columns and constants: nothing calculates with them."""
    if isinstance(node, Constant):
        series = pl.Series([node.value])
    else:
        column = cast(Column, node)
        series = typed_column(frame, column.name, column.kind)
    return series, series.is_not_null().to_numpy()


def _join(parts: Sequence[Values], decisive: bool) -> Values:
    """One part that is `decisive` decides, whatever the others are; otherwise one that is null makes all null."""
    decides, is_known = np.array([False]), np.array([True])
    for truth, is_there in parts:
        decides = decides | (is_there & (truth == decisive))
        is_known = is_known & is_there
    return decides == decisive, decides | is_known


def _compare(operator: Operator, left: Node, right: Node, frame: pl.DataFrame) -> Values:
    if left.kind == "string":
        (one, is_one), (two, is_two) = _text(left, frame), _text(right, frame)
        truth = COMPARE[operator](one, two).fill_null(False).to_numpy()
        return truth, is_one & is_two
    (a, is_a), (b, is_b) = evaluate(left, frame), evaluate(right, frame)
    if a.dtype == b.dtype:
        return COMPARE[operator](a, b), is_a & is_b
    order = _order(a, b) if a.dtype.kind == "i" else -_order(b, a)
    return COMPARE[operator](order, 0), is_a & is_b


def _order(integers: Array, floats: Array) -> Array:
    """-1, 0 or 1 as each integer is below, equal to or above its float: exactly, without rounding either."""
    whole = np.floor(floats)
    is_inside = (floats >= -BEYOND_INT) & (floats < BEYOND_INT)
    cut = np.where(is_inside, whole, 0).astype(np.int64)
    order = (integers > cut).astype(np.int8) - (integers < cut).astype(np.int8)
    order = np.where((order == 0) & (floats > whole), -1, order)
    return np.where(is_inside, order, np.where(floats < 0, 1, -1))


def _find(operand: Node, constants: Sequence[Any], frame: pl.DataFrame) -> Values:
    if operand.kind == "string":
        series, is_there = _text(operand, frame)
        return series.is_in(constants).fill_null(False).to_numpy(), is_there
    values, is_there = evaluate(operand, frame)
    # A number that the other type cannot hold equals none of its values.
    alike = {constant: values.dtype.type(constant) for constant in constants if _fits(constant, values.dtype)}
    equal = [number for constant, number in alike.items() if number.item() == constant]
    return np.isin(values, np.array(equal, values.dtype)), is_there


def _fits(constant: float, dtype: np.dtype[Any]) -> bool:
    return dtype.kind != "i" or -BEYOND_INT <= constant < BEYOND_INT


def _calculate(sign: Operator, one: Values, two: Values) -> Values:
    (a, is_a), (b, is_b) = one, two
    is_there = is_a & is_b
    if sign == "/" or "f" in (a.dtype.kind, b.dtype.kind):
        return _calculate_floats(sign, a.astype(np.float64), b.astype(np.float64), is_there)
    with np.errstate(over="ignore", divide="ignore"):
        match sign:
            case "+":
                values = a + b
                is_beyond = ((a ^ values) & (b ^ values)) < 0
            case "-":
                values = a - b
                is_beyond = ((a ^ b) & (a ^ values)) < 0
            case _:
                values = a * b
                # What has wrapped round differs by a multiple of 2^64, and divided by b is not a any more.
                is_other = (b != 0) & (values // np.where(b == 0, 1, b) != a)
                is_beyond = is_other | ((a == LEAST_INT) & (b == -1)) | ((a == -1) & (b == LEAST_INT))
    return values, is_there & ~is_beyond


def _calculate_floats(sign: Operator, a: Array, b: Array, is_there: Array) -> Values:
    with np.errstate(all="ignore"):
        match sign:
            case "+":
                values = a + b
            case "-":
                values = a - b
            case "*":
                values = a * b
            case _:
                values = a / b
                is_there = is_there & (b != 0)
    return values, is_there & ~np.isnan(values)
