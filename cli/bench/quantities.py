"""Times as people write them: 24h, 15min, 90s."""

import re

from mlops_kit.errors import UsageError

SECONDS = {"ms": 0.001, "s": 1, "": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(text: str) -> float:
    """Seconds. Raises UsageError for what is no time.

    >>> parse_duration("24h"), parse_duration("1.5 min"), parse_duration("0")
    (86400.0, 90.0, 0.0)
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?) *(ms|s|min|m|h|d|)", text.strip().lower())
    if not match:
        raise UsageError(f"{text!r} is no time", fix="write it as 24h, 15min or 90s")
    return float(match[1]) * SECONDS[match[2]]


def parse_share(text: str) -> float:
    """A share from 0 to 1, of 5% or 0.05. Raises UsageError for what is none.

    >>> parse_share("5%"), parse_share("0.05")
    (0.05, 0.05)
    """
    match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?|\.\d+) *(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{text!r} is no share", fix="write it as 5% or 0.05")
    return share
