"""Bodies that come in time, and are not too large."""

import asyncio
import time

from mlops_kit.errors import ReadTimeoutError
from mlops_kit.modes.online.http.messages import BODY, Receive, Scope, decode_body, receive_body
from mlops_kit.modes.online.limits import Limits

LOOK_S = 0.25
"""How often slow clients are looked for: a timer for each request would cost more than reading does."""


class BodyReader:
    """Reads for every request of a process. Used on one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reading: dict[asyncio.Task[None], float] = {}

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, decompressed. Raises TooLargeError, ReadTimeoutError, UnsupportedMediaTypeError."""
        body = scope.get(BODY)
        if body is None:
            body = await self._receive(scope, receive)
        return decode_body(scope, body, self._limits.body_bytes)

    async def _receive(self, scope: Scope, receive: Receive) -> bytes:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("ASGI applications run in tasks")
        self._reading[task] = time.perf_counter()
        try:
            return await receive_body(scope, receive, self._limits.body_bytes)
        except asyncio.CancelledError:
            if task in self._reading:
                raise
            task.uncancel()
            raise ReadTimeoutError from None
        finally:
            self._reading.pop(task, None)

    async def cut_slow_clients(self) -> None:
        """Run for ever: requests whose body does not come are given up."""
        while True:
            await asyncio.sleep(LOOK_S)
            limit = time.perf_counter() - self._limits.read_timeout_s
            for task, since in list(self._reading.items()):
                if since < limit:
                    del self._reading[task]
                    task.cancel()
