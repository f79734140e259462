"""Where the records of CSV text end: at line ends that are outside of quotes."""

import re

import numpy as np

from mlops_kit.schema import Array

FIELD = rb'(?:"(?:[^"]++|"")*+"[^,\r\n]*+|(?!")[^,\r\n]*+)'
RECORD = re.compile(rb"%b(?:,%b)*+(?:\r\n?|\n|\Z)" % (FIELD, FIELD))
"""One record, as Python's csv reads it: a quote counts only at the beginning of a field. No match if a quote is
never closed.
"""

LINE_ENDS = b"\r\n"
COMMA, QUOTE, LINE_FEED, CARRIAGE_RETURN = b',"\n\r'


def record_ends(data: bytes, *, is_last: bool = True) -> Array:
    """The positions after each record of `data`, which begins with a record.

    What comes after the last of them has not ended. If `is_last`, that can only be a quote that is never closed;
    else more bytes are to come.
    """
    array = np.frombuffer(data, np.uint8)
    is_inside = _inside_quotes(array) if b'"' in data else np.zeros(len(array), bool)
    if is_inside is None:
        ends = np.array(_ends_one_by_one(data), np.int64)
    else:
        ends = np.flatnonzero(_line_ends(array) & ~is_inside) + 1
        if len(array) and not is_inside[-1] and (not len(ends) or ends[-1] < len(data)):
            ends = np.append(ends, len(data))
    if not is_last and not data.endswith(b"\n"):
        # Nor is a carriage return an end before it is known what follows.
        ends = ends[ends < len(data)]
    return ends


def last_end(data: bytes, is_last: bool) -> int:
    """The last of `record_ends`, found faster; 0 if there is none."""
    if b'"' not in data and (end := len(data) if is_last else data.rfind(b"\n") + 1):
        return end
    ends = record_ends(data, is_last=is_last)
    return int(ends[-1]) if len(ends) else 0


def is_regular(data: bytes) -> bool:
    """Whether every quote begins a field, ends one, or is doubled inside of one. `data` begins with a record."""
    return b'"' not in data or _inside_quotes(np.frombuffer(data, np.uint8)) is not None


def _inside_quotes(array: Array) -> Array | None:
    """Which bytes are inside of quotes, the first one counted; None if a quote is out of place."""
    is_quote = array == QUOTE
    is_inside: Array = np.logical_xor.accumulate(is_quote)
    is_beside = is_quote | (array == COMMA) | (array == LINE_FEED) | (array == CARRIAGE_RETURN)
    opens_amid = is_quote[1:] & is_inside[1:] & ~is_beside[:-1]
    closes_amid = is_quote[:-1] & ~is_inside[:-1] & ~is_beside[1:]
    return None if opens_amid.any() or closes_amid.any() else is_inside


def _line_ends(array: Array) -> Array:
    """Which bytes end a line: every line feed, and a carriage return that none follows."""
    is_end: Array = array == LINE_FEED
    returns = np.flatnonzero(array == CARRIAGE_RETURN)
    followers = array[np.minimum(returns + 1, len(array) - 1)]
    is_end[returns[followers != LINE_FEED]] = True
    return is_end


def _ends_one_by_one(data: bytes) -> list[int]:
    ends = []
    position = 0
    while position < len(data) and (match := RECORD.match(data, position)):
        position = match.end()
        ends.append(position)
    return ends
