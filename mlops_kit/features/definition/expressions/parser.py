"""From the words of a condition to its tree. Types are checked where they meet, so that an error has a place."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from mlops_kit.errors import listed, suggestion
from mlops_kit.features.definition.expressions.tokens import Token, mistake, split_condition
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
from mlops_kit.features.definition.feature_set import Kind

MOST_NESTED: Final = 32
"""Each level takes eight calls of Python, and conditions come out of bundles that nobody vouches for."""

LEAST_INT, MOST_INT = -(2**63), 2**63 - 1
NUMBERS: Final = ("float64", "int64")
NOUNS: Final[Mapping[Kind, str]] = {
    "float64": "a number",
    "int64": "a whole number",
    "bool": "true or false",
    "string": "text",
}


class Parser:
    """One use each: `Parser(text, kinds, others).condition()`."""

    def __init__(self, text: str, kinds: Mapping[str, Kind], others: Mapping[str, object]) -> None:
        self._text = text
        self._kinds = kinds
        self._others = others
        self._tokens = split_condition(text)
        self._place = 0
        self._depth = 0

    def condition(self) -> Node:
        """The whole of it. Raises UsageError with the place of what is wrong."""
        node = self._truth(self._disjunction)
        if self._next.kind != "end":
            fix = "join conditions with and or or" if self._next.kind != "sign" else ""
            if self._next.text in _COMPARISONS:
                fix = "compare two at a time: 1 < a and a < 5"
            raise mistake(self._text, self._next.at, f"{self._next} does not go on what is before it", fix)
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _take(self, kind: str, texts: Sequence[str]) -> Token | None:
        """The next word, if it is one of these."""
        token = self._next
        if token.kind != kind or token.text not in texts:
            return None
        self._place += 1
        return token

    def _expect(self, kind: str, text: str) -> None:
        if self._take(kind, (text,)) is None:
            raise mistake(self._text, self._next.at, f"there is {self._next} where {text!r} should be")

    def _truth(self, parse: Callable[[], Node]) -> Node:
        """What this parses, if it is true or false."""
        at = self._next.at
        node = parse()
        if node.kind != "bool":
            why = f"this is {NOUNS[node.kind]}, not true or false"
            raise mistake(self._text, at, why, "compare it with something, as in dep_delay > 0")
        return node

    def _number(self, parse: Callable[[], Node], sign: Token) -> Node:
        at = self._next.at
        node = parse()
        self._check_number(node, sign, at)
        return node

    def _check_number(self, node: Node, sign: Token, at: int) -> None:
        if node.kind not in NUMBERS:
            raise mistake(self._text, at, f"{sign} takes numbers, and this is {NOUNS[node.kind]}")

    def _disjunction(self) -> Node:
        return self._junction("or", lambda: self._junction("and", self._negation))

    def _junction(self, word: str, parse: Callable[[], Node]) -> Node:
        at, node = self._next.at, parse()
        parts = [node]
        while self._take("keyword", (word,)):
            if len(parts) == 1 and node.kind != "bool":
                raise mistake(self._text, at, f"{word!r} joins conditions, and this is {NOUNS[node.kind]}")
            parts.append(self._truth(parse))
        return node if len(parts) == 1 else Junction("and" if word == "and" else "or", tuple(parts))

    def _negation(self) -> Node:
        if self._take("keyword", ("not",)):
            return Not(self._nested(lambda: self._truth(self._negation)))
        return self._predicate()

    def _predicate(self) -> Node:
        left = self._sum()
        if sign := self._take("sign", _COMPARISONS):
            return self._comparison(left, sign)
        if self._take("keyword", ("is",)):
            is_negated = self._take("keyword", ("not",)) is not None
            self._expect("keyword", "null")
            return NullTest(left, is_negated)
        if self._take("keyword", ("in",)):
            return self._membership(left, is_negated=False)
        if self._take("keyword", ("not",)):
            self._expect("keyword", "in")
            return self._membership(left, is_negated=True)
        return left

    def _comparison(self, left: Node, sign: Token) -> Node:
        at = self._next.at
        right = self._sum()
        self._check_alike(left, right, at)
        if left.kind == "bool" and sign.text not in ("=", "!="):
            raise mistake(self._text, sign.at, "truth values have no order", "compare them with = or !=")
        return Comparison(cast(Operator, sign.text), left, right)

    def _membership(self, left: Node, is_negated: bool) -> Node:
        self._expect("sign", "(")
        constants = [self._constant_like(left)]
        while self._take("sign", (",",)):
            constants.append(self._constant_like(left))
        self._expect("sign", ")")
        return Membership(left, tuple(constants), is_negated)

    def _constant_like(self, left: Node) -> Constant:
        at = self._next.at
        node = self._unary()
        if not isinstance(node, Constant):
            raise mistake(
                self._text, at, "in takes numbers, texts, true and false", "compare columns with = and or"
            )
        self._check_alike(left, node, at)
        return node

    def _check_alike(self, left: Node, right: Node, at: int) -> None:
        if left.kind == right.kind or (left.kind in NUMBERS and right.kind in NUMBERS):
            return
        fix = ""
        if isinstance(right, Constant) and left.kind == "string":
            fix = f"write it as text: '{right.value}'"
        elif isinstance(right, Constant) and right.kind == "string":
            fix = "write it without quotation marks"
        raise mistake(self._text, at, f"{NOUNS[right.kind]} is compared with {NOUNS[left.kind]}", fix)

    def _sum(self) -> Node:
        return self._chain(("+", "-"), lambda: self._chain(("*", "/"), self._unary))

    def _chain(self, signs: Sequence[str], parse: Callable[[], Node]) -> Node:
        at, first = self._next.at, parse()
        rest: list[tuple[Operator, Node]] = []
        while sign := self._take("sign", signs):
            if not rest:
                self._check_number(first, sign, at)
            rest.append((cast(Operator, sign.text), self._number(parse, sign)))
        if not rest:
            return first
        is_whole = all(sign != "/" and node.kind == "int64" for sign, node in [("", first), *rest])
        return Arithmetic(first, tuple(rest), "int64" if is_whole else "float64")

    def _unary(self) -> Node:
        sign = self._take("sign", ("-",))
        if sign is None:
            return self._primary()
        if self._next.kind == "number":
            return self._constant(sign="-")
        operand = self._nested(lambda: self._number(self._unary, sign))
        return Negative(operand, operand.kind)

    def _primary(self) -> Node:
        token = self._next
        if token.kind == "number":
            return self._constant()
        self._place += 1
        if token.kind == "text":
            return Constant(token.text, "string")
        if token.kind in ("name", "quoted"):
            return self._column(token.text, token.at)
        if token.text in ("true", "false"):
            return Constant(token.text == "true", "bool")
        if token.text == "(":
            node = self._nested(self._disjunction)
            self._expect("sign", ")")
            return node
        fix = "compare with is null" if token.text == "null" else ""
        raise mistake(self._text, token.at, f"there is {token} where a value should be", fix)

    def _constant(self, sign: str = "") -> Constant:
        token = self._next
        self._place += 1
        is_whole = token.text.isdecimal()
        value = int(sign + token.text) if is_whole else float(sign + token.text)
        if not (LEAST_INT <= value <= MOST_INT if is_whole else math.isfinite(value)):
            raise mistake(
                self._text, token.at, "this number is too large for int64" if is_whole else "this is infinite"
            )
        return Constant(value, "int64" if is_whole else "float64")

    def _column(self, name: str, at: int) -> Column:
        if name in self._others:
            why = f"{name!r} is {self._others[name]}, and conditions look at numbers, texts and truth values"
            raise mistake(self._text, at, why, f"convert {name!r} in the files, or look at another column")
        if name not in self._kinds:
            names = list(self._kinds)
            fix = f"there are {listed(names)}; a text is in single quotation marks"
            raise mistake(self._text, at, f"there is no column {name!r}", suggestion([name], names) or fix)
        return Column(name, self._kinds[name])

    def _nested(self, parse: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise mistake(
                self._text, self._next.at, f"it is nested more than {MOST_NESTED} deep", "write it flatter"
            )
        node = parse()
        self._depth -= 1
        return node


_COMPARISONS: Final = ("=", "!=", "<", "<=", ">", ">=")
