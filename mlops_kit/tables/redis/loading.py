"""Load the rows of a generation, and know at every moment whether they are all still there.

While it loads, a publisher holds the generation's lease: a key that expires unless it is renewed. Rows that nobody
holds a lease for are leftovers, which the next publisher removes. So one that has lost its lease, because it stood
still for long or because another process took the generation over, must not make the generation current.
"""

import secrets
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis

from mlops_kit.errors import StoreError
from mlops_kit.tables.generation import Generation
from mlops_kit.tables.redis.encoding import RowEncoder

LEASE_S = 60


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to load one generation. Whoever took it last has it alone."""

    key: str
    token: bytes = field(default_factory=lambda: secrets.token_hex(8).encode())

    def check(self, holder: bytes | None) -> None:
        """Raises StoreError if the key's value is the token of somebody else, or missing."""
        if holder != self.token:
            why = "another process loads it now" if holder else f"this process stood still for {LEASE_S} s or more"
            raise StoreError(f"the loading under {self.key} was given up", why, "run again")

    def release(self, client: redis.Redis) -> None:
        """Give it back, so that what was loaded can be removed at once; somebody else's is left alone."""

        def delete(pipeline: Any) -> None:
            is_held = pipeline.get(self.key) == self.token
            pipeline.multi()
            if is_held:
                pipeline.delete(self.key)

        client.transaction(delete, self.key)


def load_rows(
    client: redis.Redis, generation: Generation, encoder: RowEncoder, lease: Lease, on_rows: Callable[[int], None]
) -> None:
    """Store all rows, while holding the lease; the server stores a batch while the next one is encoded.

    Raises StoreError if the lease is lost on the way.
    """
    with _own_connection(client) as connection:
        renewal = connection.pack_commands([("EXPIRE", lease.key, LEASE_S), ("GET", lease.key)])
        sent: deque[tuple[int, int]] = deque()
        for batch in generation.batches():
            commands = encoder.encode(batch)
            connection.send_packed_command([*renewal, *commands])
            sent.append((batch.num_rows, len(commands)))
            if len(sent) > 1:
                on_rows(_await_answers(connection, lease, *sent.popleft()))
        for rows, commands_sent in sent:
            on_rows(_await_answers(connection, lease, rows, commands_sent))


def _await_answers(connection: Any, lease: Lease, rows: int, commands: int) -> int:
    connection.read_response()
    lease.check(connection.read_response())
    for _ in range(commands):
        connection.read_response()
    return rows


@contextmanager
def _own_connection(client: redis.Redis) -> Iterator[Any]:
    """A connection that nobody else sends commands over; closed after a failure, because answers may be due."""
    connection = client.connection_pool.get_connection()
    try:
        yield connection
    except BaseException:
        connection.disconnect()
        raise
    finally:
        client.connection_pool.release(connection)
