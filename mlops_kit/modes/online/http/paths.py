"""Which paths are answered to everybody, also where keys are needed."""

import re

OPEN = frozenset(("/", "/docs", "/favicon.ico", "/ping", "/health", "/v2/health/live", "/v2/health/ready"))
"""Health, for whatever watches the server, and the pages for people, who give their key there."""

OPEN_PATTERN = re.compile(r"/pages/[^/]+|/v2/models/[^/]+(?:/versions/[^/]+)?/ready")


def is_open(path: str) -> bool:
    """Everything that is not known to be harmless needs a key: predictions, metadata, statistics, metrics.

    >>> is_open("/v2/models/eta/ready"), is_open("/v2/models/ready"), is_open("/metrics")
    (True, False, False)
    """
    return path in OPEN or OPEN_PATTERN.fullmatch(path) is not None
