"""Spans of time as people write them, in microseconds."""

import re
from typing import Final

from mlops_kit.errors import UsageError

UNITS: Final = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
LONGEST_US: Final = 36_525 * UNITS["d"]

_PATTERN: Final = re.compile(r"([0-9]{1,18})\s*([a-z]+)")


def parse_duration(text: str, what: str, least_us: int = 1) -> int:
    """Microseconds of "30d", "1h", "15m", "10s" or "500ms"; `what` it is for, in an error.

    Raises UsageError for anything else, for less than `least_us` and for more than a century.

    >>> parse_duration("15m", "window")
    900000000
    """
    found = _PATTERN.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None or found[2] not in UNITS:
        fix = f"write a whole number and one of {', '.join(UNITS)}, as in 30d, 1h, 15m, 10s or 500ms"
        raise UsageError(f"{what} {text!r} is no span of time", fix=fix)
    span_us = int(found[1]) * UNITS[found[2]]
    check_duration(span_us, what, least_us)
    return span_us


def check_duration(span_us: int, what: str, least_us: int = 1) -> None:
    """Raise UsageError for a span below `least_us`, or of more than a century."""
    if not least_us <= span_us <= LONGEST_US:
        why = "it must be longer than nothing" if span_us < least_us else "it is longer than a century"
        raise UsageError(f"{what} of {format_duration(span_us)}", why, "write a span such as 1h")


def format_duration(span_us: int) -> str:
    """The shortest way to write it that `parse_duration` reads.

    >>> format_duration(5_400_000_000), format_duration(86_400_000_000), format_duration(0)
    ('90m', '1d', '0s')
    """
    unit = next((unit for unit, size in UNITS.items() if span_us and span_us % size == 0), "s")
    return f"{span_us // UNITS[unit]}{unit}"
