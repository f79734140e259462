"""A condition as a tree, and its canonical text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mlops_kit.features.definition.feature_set import Kind

KEYWORDS: Final = frozenset({"and", "or", "not", "is", "null", "in", "true", "false"})
NAME: Final = re.compile(r"[^\W\d]\w*")

Operator: TypeAlias = Literal["+", "-", "*", "/", "=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a text or a truth value that stands in the condition."""

    value: float | int | bool | str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Column:
    """What the event has there."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Negative:
    """The operand with the other sign."""

    operand: "Node"
    kind: Kind


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`first`, then each operator and operand from left to right: all of + and -, or all of * and /.

    A chain and not a tree of pairs, so that a tree is no deeper than its parentheses.
    """

    first: "Node"
    rest: tuple[tuple[Operator, "Node"], ...]
    kind: Kind


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of two numbers, two texts or two truth values."""

    operator: Operator
    left: "Node"
    right: "Node"
    kind: Kind = "bool"


@dataclass(frozen=True, slots=True)
class NullTest:
    """Whether there is no value, or with `is_negated` whether there is one. Never null itself."""

    operand: "Node"
    is_negated: bool
    kind: Kind = "bool"


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether the operand equals one of the constants."""

    operand: "Node"
    constants: tuple[Constant, ...]
    is_negated: bool
    kind: Kind = "bool"


@dataclass(frozen=True, slots=True)
class Not:
    """The other truth value; null stays null."""

    operand: "Node"
    kind: Kind = "bool"


@dataclass(frozen=True, slots=True)
class Junction:
    """Several conditions, joined by "and" or by "or"."""

    word: Literal["and", "or"]
    parts: tuple["Node", ...]
    kind: Kind = "bool"


Node: TypeAlias = Constant | Column | Negative | Arithmetic | Comparison | NullTest | Membership | Not | Junction


def columns_of(node: Node) -> Iterator[str]:
    """The names of the columns in it, each time that they occur."""
    match node:
        case Column(name):
            yield name
        case Negative(operand) | NullTest(operand) | Membership(operand) | Not(operand):
            yield from columns_of(operand)
        case Comparison(_, left, right):
            yield from columns_of(left)
            yield from columns_of(right)
        case Arithmetic(first, rest):
            for part in (first, *(operand for _, operand in rest)):
                yield from columns_of(part)
        case Junction(_, parts):
            for part in parts:
                yield from columns_of(part)


def text_of(node: Node) -> str:
    """The one way to write it: parsed again, it gives the same text, and the same answers."""
    match node:
        case Constant(value):
            return _constant_text(value)
        case Column(name):
            is_plain = NAME.fullmatch(name) and name.lower() not in KEYWORDS
            return name if is_plain else '"' + name.replace('"', '""') + '"'
        case Negative(operand):
            # A sign directly before a number is a part of it.
            return f"-{text_of(operand)}" if isinstance(operand, Column) else f"-({text_of(operand)})"
        case Arithmetic(first, rest):
            level = _level(node)
            return _within(first, level) + "".join(f" {sign} {_within(part, level + 1)}" for sign, part in rest)
        case Comparison(operator, left, right):
            return f"{_within(left, 5)} {operator} {_within(right, 5)}"
        case NullTest(operand, is_negated):
            return f"{_within(operand, 5)} is {'not ' if is_negated else ''}null"
        case Membership(operand, constants, is_negated):
            listed = ", ".join(_constant_text(constant.value) for constant in constants)
            return f"{_within(operand, 5)} {'not ' if is_negated else ''}in ({listed})"
        case Not(operand):
            return f"not {_within(operand, 3)}"
        case Junction(word, parts):
            return f" {word} ".join(_within(part, _level(node)) for part in parts)


def _level(node: Node) -> int:
    """How tightly it holds together; a part that does so less than its place asks for is put into parentheses."""
    match node:
        case Junction(word):
            return 1 if word == "or" else 2
        case Not():
            return 3
        case Comparison() | NullTest() | Membership():
            return 4
        case Arithmetic(_, rest):
            return 5 if rest[0][0] in ("+", "-") else 6
        case Negative():
            return 7
    return 8


def _within(node: Node, level: int) -> str:
    return text_of(node) if _level(node) >= level else f"({text_of(node)})"


def _constant_text(value: float | int | bool | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)
