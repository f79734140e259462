"""The store: reading, writing and dropping."""

from collections.abc import Iterator, Sequence
from typing import Any

import redis
from redis.exceptions import RedisError

from mlops_kit.errors import MlkitError
from mlops_kit.stores.connections import Connections
from mlops_kit.stores.interface import Value, Write
from mlops_kit.stores.limits import FIRST_PAGE, check_writes, next_page, portions
from mlops_kit.stores.redis.transport import read_transport
from mlops_kit.stores.redis.values import PREFIX, by_space, name_of, value_of, values_of
from mlops_kit.tables.address import Address
from mlops_kit.tables.redis.connection import make_client, refuse_eviction
from mlops_kit.tables.redis.failures import explain, plain_failures

WRITES_PER_COMMAND, BYTES_PER_COMMAND = 256, 1 << 20
"""Others wait while the server runs one."""
KEYS_PER_STEP = 1000

WRITE = b"""
local written = {}
for i = 1, #ARGV, 3 do
  local key, replaces, data = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local old = redis.call('HGET', KEYS[1], key)
  local version = old and struct.unpack('>I8', old) or 0
  if replaces == '' or tonumber(replaces) == version then
    redis.call('HSET', KEYS[1], key, struct.pack('>I8', version + 1) .. data)
    written[#written + 1] = 1
  else
    written[#written + 1] = 0
  end
end
return written
"""
"""Arguments: key, version that it replaces or nothing, data, and so on. Lua's numbers are exact up to 2^53."""


def open_store(address: Address, password: str = "") -> "RedisStore":
    """The store on this server. Raises UsageError, and StoreError if the server cannot be reached."""
    client = make_client(address, password, read_transport(address))
    with plain_failures(address):
        client.ping()
    return RedisStore(address, client, is_eviction_accepted="eviction" in dict(address.options))


class RedisStore:
    """A store in a database of a server."""

    def __init__(self, address: Address, client: redis.Redis, *, is_eviction_accepted: bool) -> None:
        self._address = address
        self._client = client
        # What the client does around each command takes as long as the command.
        self._connections: Connections[Any] = Connections(
            client.connection_pool.make_connection, _is_usable, _disconnect, (RedisError,), self._explained
        )
        self._may_write = is_eviction_accepted

    def read(self, addresses: Sequence[tuple[str, bytes]]) -> list[Value | None]:
        """One command for each space, sent together."""
        keys = by_space(addresses)
        with self._connections.taken() as connection:
            for space, wanted in keys.items():
                _send(connection, b"HMGET", name_of(space), *wanted)
            found = {space: connection.read_response() for space in keys}
        return values_of(addresses, found)

    def write(self, space: str, writes: Sequence[Write]) -> list[bool]:
        """In portions; the server applies one while the next is packed."""
        check_writes(space, writes)
        self._refuse_eviction()
        name, done, is_pending = name_of(space), [], False
        with self._connections.taken() as connection:
            for portion in portions(writes, WRITES_PER_COMMAND, BYTES_PER_COMMAND):
                arguments: list[bytes] = []
                for write in portion:
                    arguments += (write.key, b"" if write.replaces is None else b"%d" % write.replaces, write.data)
                _send(connection, b"EVAL", WRITE, b"1", name, *arguments)
                if is_pending:
                    done += connection.read_response()
                is_pending = True
            if is_pending:
                done += connection.read_response()
        return [written == 1 for written in done]

    def scan(self, space: str) -> Iterator[tuple[bytes, Value]]:
        """The server may give a key twice while it makes room; those that it gave are remembered."""
        name, most, seen = name_of(space), FIRST_PAGE, set[bytes]()
        cursor = None
        while cursor != 0:
            with plain_failures(self._address):
                cursor, page = self._client.hscan(name, cursor or 0, count=most)
            for key, value in page.items():
                if key not in seen:
                    yield key, value_of(value)
            seen.update(page)
            most = next_page(most, sum(map(len, page.values())))

    def spaces(self, prefix: str = "") -> list[str]:
        """Looks at every key of the database, a thousand at a time."""
        with plain_failures(self._address):
            names = set(self._client.scan_iter(f"{PREFIX}*", KEYS_PER_STEP))
        found = sorted(name.decode().removeprefix(PREFIX) for name in names)
        return [space for space in found if space.startswith(prefix)]

    def drop(self, space: str) -> None:
        """In one step; the server frees the memory afterwards."""
        with plain_failures(self._address):
            self._client.unlink(name_of(space))

    def close(self) -> None:
        """See `interface.Store`."""
        self._connections.close()
        self._client.close()

    def _refuse_eviction(self) -> None:
        if not self._may_write:
            with plain_failures(self._address):
                refuse_eviction(self._client, self._address)
            self._may_write = True

    def _explained(self, error: Exception) -> MlkitError:
        return explain(self._address, error)


def _send(connection: Any, *command: bytes) -> None:
    connection.send_packed_command(connection.pack_command(*command), check_health=False)


def _is_usable(connection: Any) -> bool:
    """What can be read before anything was asked is the server's farewell."""
    try:
        return not connection.can_read()
    except RedisError:
        return False


def _disconnect(connection: Any) -> None:
    connection.disconnect()
