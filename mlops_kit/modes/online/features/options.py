"""Where a server takes features from, and what becomes of requests while it cannot."""

from dataclasses import dataclass, field
from enum import StrEnum


class StoreFailure(StrEnum):
    """What a request gets that the store does not answer for."""

    defaults = "defaults"
    refuse = "refuse"


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """`timeout_s`: how long a batch of requests waits for the store. With `takes_request_time`, a request may say
    as of when it is asked.
    """

    uri: str
    password: str = field(default="", repr=False)
    failure: StoreFailure = StoreFailure.defaults
    timeout_s: float = 0.2
    takes_request_time: bool = False
