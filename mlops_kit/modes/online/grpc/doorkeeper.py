"""Who may call what, before anything but a call's headers has come; and the count of those that no handler had."""

from collections.abc import Mapping

from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.metrics.counters import ModelMeter

SERVICE = "inference.GRPCInferenceService"
PREFIX = f"/{SERVICE}/".encode()
OPEN = frozenset(PREFIX + name for name in (b"ServerLive", b"ServerReady", b"ModelReady"))
"""Calls that need no key, as those of other services, health and reflection, need none."""

PREDICTING = frozenset(PREFIX + name for name in (b"ModelInfer", b"ModelStreamInfer"))
"""Calls that are counted."""


class Doorkeeper:
    """`meter` counts requests that ended before it was known which model they are for."""

    def __init__(self, keys: Keys, meter: ModelMeter) -> None:
        self._keys = keys if keys.are_needed else None
        self._meter = meter

    def admit(self, path: bytes, headers: Mapping[bytes, bytes]) -> None:
        """Raises UnauthorizedError."""
        if self._keys and path.startswith(PREFIX) and path not in OPEN:
            key = headers.get(b"x-api-key")
            self._keys.check(b"Bearer " + key if key else headers.get(b"authorization", b""))

    def note_failure(self, path: bytes, status: int, seconds: float) -> None:
        """A call ended before its handler began."""
        if path in PREDICTING:
            self._meter.count_failure("grpc", status, seconds)
