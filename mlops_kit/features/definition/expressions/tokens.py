"""The text of a condition as a list of words, and errors that say where in it."""

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from mlops_kit.errors import UsageError
from mlops_kit.features.definition.expressions.tree import KEYWORDS, NAME

MOST_CHARACTERS: Final = 4096
MOST_SHOWN: Final = 120

TokenKind: TypeAlias = Literal["number", "text", "quoted", "name", "keyword", "sign", "end"]

_PATTERN: Final = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<text>'(?:[^']|'')*')"
    r'|(?P<quoted>"(?:[^"]|"")*")'
    rf"|(?P<name>{NAME.pattern})"
    r"|(?P<sign><=|>=|<>|!=|==|[=<>()+\-*/,])"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word, without its quotes; keywords in small letters. `at` is its first character's place, from 0."""

    kind: TokenKind
    text: str
    at: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.text)


def split_condition(text: str) -> list[Token]:
    """Its words, and last the end. Raises UsageError for what is none."""
    if len(text) > MOST_CHARACTERS:
        raise mistake(
            text, MOST_CHARACTERS, f"it is longer than {MOST_CHARACTERS:,} characters", "make it shorter"
        )
    _check_characters(text)
    tokens, at = [], 0
    while at < len(text):
        found = _PATTERN.match(text, at)
        if found is None:
            raise _unknown_character(text, at)
        if found.lastgroup == "number" and NAME.match(text, found.end()):
            raise mistake(
                text, at, "a name does not begin with a digit", 'put a column\'s name into double quotes: "1st"'
            )
        if found.lastgroup != "space":
            tokens.append(_token(found))
        at = found.end()
    return [*tokens, Token("end", "", len(text))]


def mistake(text: str, at: int, why: str, fix: str = "") -> UsageError:
    """The error for a condition that is wrong at a character."""
    shown = text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"
    return UsageError(f"the condition {shown!r} is wrong at character {at + 1}", why, fix)


def _check_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise mistake(text, error.start, "half of a character is no text") from error


def _token(found: re.Match[str]) -> Token:
    kind, text, at = found.lastgroup, found.group(), found.start()
    match kind:
        case "text":
            return Token("text", text[1:-1].replace("''", "'"), at)
        case "quoted":
            return Token("quoted", text[1:-1].replace('""', '"'), at)
        case "name" if text.lower() in KEYWORDS:
            return Token("keyword", text.lower(), at)
        case "name":
            return Token("name", text, at)
        case "number":
            return Token("number", text, at)
    return Token("sign", {"==": "=", "<>": "!="}.get(text, text), at)


def _unknown_character(text: str, at: int) -> UsageError:
    if text[at] in "'\"":
        return mistake(
            text, at, "the quotation that begins here does not end", f"add {text[at]}; one inside is written twice"
        )
    fix = "the signs are = != < <= > >= + - * / ( ) , and the words and, or, not, in, is null"
    return mistake(text, at, f"{text[at]!r} is no sign of this language", fix)
