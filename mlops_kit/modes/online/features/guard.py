"""A store that is away costs one batch of requests its time, and not every one."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from mlops_kit.errors import StoreError

log = logging.getLogger("mlkit.serve")

RETRY_S: Final = 1.0
"""After a failure nobody waits for the store for so long; then it is tried in the background."""

THREADS: Final = 16
"""As many calls as may be under way at once: one for each model, and those that are stuck."""

Found = TypeVar("Found")


class StoreGuard:
    """Calls a store and does not wait longer than `timeout_s`. Threads may share it."""

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        self._retry_at = 0.0
        self._reason = ""
        self._pending: Future[Any] | None = None

    def call(self, read: Callable[[], Found]) -> Found:
        """What `read` returns. Raises StoreError: its own, or because it takes too long, or did a moment ago."""
        if self._reason:
            self._try_again(read)
        future = self._pool.submit(read)
        try:
            return future.result(self._timeout_s)
        except TimeoutError:
            self._fail(f"it took longer than {self._timeout_s * 1000:g} ms", future)
        except StoreError as error:
            self._fail(str(error), None)
            raise
        raise StoreError("the store is too slow", self._reason)

    def _try_again(self, read: Callable[[], object]) -> None:
        """Raises StoreError, unless the store has answered in the background by now."""
        pending = self._pending
        if pending is None and self._clock() >= self._retry_at:
            self._pending = self._pool.submit(read)
        elif pending is not None and pending.done():
            self._pending = None
            error = pending.exception()
            if error is None and self._clock() >= self._retry_at:
                self._reason = ""
                log.info("the store of the features answers again")
                return
            self._retry_at = max(self._retry_at, self._clock() + RETRY_S if error else 0.0)
        raise StoreError("the store did not answer a moment ago", self._reason)

    def _fail(self, reason: str, pending: "Future[Any] | None") -> None:
        self._pending, self._retry_at = pending, self._clock() + RETRY_S
        if not self._reason:
            log.warning("the store of the features does not answer: %s", reason)
        self._reason = reason
