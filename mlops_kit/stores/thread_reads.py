"""Reading on an event loop what can only be waited for."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from mlops_kit.stores.interface import Store, Value

THREADS = 16
"""As many reads as may be under way at once: one for each model, and those that are stuck."""


class ThreadReads:
    """Each read in a thread. One that is cancelled goes on there, until the store's own time-out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="store")

    async def read(self, addresses: Sequence[tuple[str, bytes]]) -> list[Value | None]:
        """See `interface.Reads`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._store.read, addresses)

    async def close(self) -> None:
        """See `interface.Reads`."""
        self._pool.shutdown(wait=False)
