"""When a client says as of when it asks."""

from typing import Any

import polars as pl

from mlops_kit.errors import InputError
from mlops_kit.features.values import times_us

NAME = "as_of"
LATEST_US = 253_402_300_799_999_999
"""The end of the year 9999."""


def parse_as_of(value: Any, *, is_taken: bool) -> int:
    """Microseconds since 1970. Raises InputError, also where a request may not say it."""
    if not is_taken:
        why = "a client that says it could ask for what was not known then"
        raise InputError(f"{NAME} is not taken", why, "start the server with --request-time to allow it")
    at_us = value if type(value) is int else None
    if isinstance(value, str):
        at_us = times_us(pl.Series([value]))[0]
    if at_us is None or not 0 <= at_us <= LATEST_US:
        fix = "write it as 2026-05-01T12:00:00Z, or in microseconds since 1970"
        raise InputError(f"{NAME} is no time", fix=fix)
    return int(at_us)
