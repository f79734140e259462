"""A store that is away costs one batch of requests its time, and not every one."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from mlops_kit.errors import MlkitError, StoreError

log = logging.getLogger("mlkit.serve")

RETRY_S: Final = 1.0
"""After a failure nobody waits for the store for so long; then it is tried in the background."""

PROBE_S: Final = 5.0
"""How long that may take: the connection may have to be made anew."""

Found = TypeVar("Found")


class StoreGuard:
    """Reads from a store and does not wait longer than `timeout_s`. Used on one event loop."""

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._retry_at = 0.0
        self._reason = ""
        self._probe: asyncio.Task[Any] | None = None

    async def call(self, read: Callable[[], Awaitable[Found]]) -> Found:
        """What `read` gives. Raises StoreError: its own, or because it takes too long, or did a moment ago."""
        if self._reason:
            self._try_again(read)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await read()
        except TimeoutError:
            self._fail(f"it took longer than {self._timeout_s * 1000:g} ms")
        except MlkitError as error:
            self._fail(str(error))
        raise StoreError("the store does not answer", self._reason)

    def _try_again(self, read: Callable[[], Awaitable[object]]) -> None:
        """Raises StoreError, unless the store has answered in the background by now."""
        probe = self._probe
        if probe is None and self._clock() >= self._retry_at:
            self._probe = asyncio.create_task(_answers(read))
        elif probe is not None and probe.done():
            self._probe = None
            if probe.result():
                self._reason = ""
                log.info("the store of the features answers again")
                return
            self._retry_at = self._clock() + RETRY_S
        raise StoreError("the store did not answer a moment ago", self._reason)

    def _fail(self, reason: str) -> None:
        self._retry_at = self._clock() + RETRY_S
        if not self._reason:
            log.warning("the store of the features does not answer: %s", reason)
        self._reason = reason


async def _answers(read: Callable[[], Awaitable[object]]) -> bool:
    try:
        async with asyncio.timeout(PROBE_S):
            await read()
    except (TimeoutError, MlkitError):
        return False
    return True
