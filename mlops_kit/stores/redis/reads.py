"""Reading without a thread: on the event loop of a server, which answers others meanwhile."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from mlops_kit.stores.interface import Value
from mlops_kit.stores.redis.transport import read_transport
from mlops_kit.stores.redis.values import by_space, name_of, values_of
from mlops_kit.tables.address import Address
from mlops_kit.tables.redis.connection import client_options
from mlops_kit.tables.redis.failures import explain


def open_reads(address: Address, password: str = "") -> "RedisReads":
    """Reads of the store on this server, which is reached on first use. Raises UsageError."""
    options = client_options(address, password, read_transport(address))
    # Whoever reads on an event loop has a time-out around all of it; the client's own costs a task per command.
    options["socket_timeout"] = None
    return RedisReads(address, redis.asyncio.Redis(**options, retry=Retry(NoBackoff(), 0)))


class RedisReads:
    """As many connections as reads are under way at once."""

    def __init__(self, address: Address, client: redis.asyncio.Redis) -> None:
        self._address = address
        self._pool = client.connection_pool
        self._idle: deque[Any] = deque()

    async def read(self, addresses: Sequence[tuple[str, bytes]]) -> list[Value | None]:
        """One command for each space, sent together. A connection that was lost since it was last used is no
        failure.
        """
        keys = by_space(addresses)
        while self._idle:
            try:
                return values_of(addresses, await self._ask(self._idle.pop(), keys))
            except (RedisError, OSError):
                continue
        try:
            return values_of(addresses, await self._ask(self._pool.make_connection(), keys))
        except (RedisError, OSError) as error:
            raise explain(self._address, error) from error

    async def close(self) -> None:
        """See `interface.Reads`."""
        while self._idle:
            await self._idle.pop().disconnect()

    async def _ask(self, connection: Any, keys: dict[str, list[bytes]]) -> dict[str, list[bytes | None]]:
        """Of an answer that is not waited for, nothing may be left on the connection."""
        packed: list[bytes] = []
        for space, wanted in keys.items():
            packed += connection.pack_command(b"HMGET", name_of(space), *wanted)
        try:
            await connection.send_packed_command(packed, check_health=False)
            found = {space: await connection.read_response() for space in keys}
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)
        return found
