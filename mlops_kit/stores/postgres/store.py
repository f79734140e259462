"""The store: what is asked of the server, and in which portions."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import psycopg

from mlops_kit.stores.connections import Connections
from mlops_kit.stores.interface import Value, Write
from mlops_kit.stores.limits import FIRST_PAGE, check_writes, next_page, portions, scan_by_key
from mlops_kit.stores.options import seconds
from mlops_kit.stores.postgres.session import ANSWER_TIMEOUT_S, Session, connect, explained
from mlops_kit.stores.postgres.statements import DROP, PUT, READ, READ_MANY, REPLACE, SCAN, SIZES, SPACES
from mlops_kit.tables.address import Address
from mlops_kit.tables.postgres.connection import connection_uri

CONNECT_TIMEOUT_S = 3.0
WRITES_PER_STATEMENT, BYTES_PER_STATEMENT = 2000, 4 << 20


def open_store(address: Address, password: str = "") -> "PostgresStore":
    """The store on this server. Raises StoreError if it cannot be reached, UsageError if its table is not ours."""
    connect_timeout_s = seconds(address, "connect_timeout_s", CONNECT_TIMEOUT_S)
    timeout_s = seconds(address, "timeout_s", ANSWER_TIMEOUT_S)
    options = {"connect_timeout": str(math.ceil(connect_timeout_s))} | dict(address.options)
    schema = options.pop("schema", "")
    libpq = tuple(
        (name, value) for name, value in options.items() if name not in ("connect_timeout_s", "timeout_s")
    )
    uri = connection_uri(replace(address, options=libpq), password)
    return PostgresStore(
        Connections(
            connect=lambda: connect(uri, schema, timeout_s),
            is_usable=Session.is_usable,
            disconnect=Session.close,
            failures=(psycopg.Error,),
            explain=lambda error: explained(error, str(address)),
        )
    )


class PostgresStore:
    """A store in a database of a server."""

    def __init__(self, connections: Connections[Session]) -> None:
        self._connections = connections
        with self._connections.taken() as session:
            session.find_table()

    def read(self, addresses: Sequence[tuple[str, bytes]]) -> list[Value | None]:
        """See `interface.Store`."""
        values: list[Value | None] = [None] * len(addresses)
        with self._connections.taken() as session:
            if not session.find_table():
                return values
            if len(addresses) == 1:
                rows = [(1, *row) for row in session.query(READ, *addresses[0])]
            else:
                spaces, keys = [space for space, _ in addresses], [key for _, key in addresses]
                rows = session.query(READ_MANY, spaces, keys)
        for place, version, data in rows:
            values[place - 1] = Value(version, data)
        return values

    def write(self, space: str, writes: Sequence[Write]) -> list[bool]:
        """In statements that are transactions each."""
        check_writes(space, writes)
        done = [False] * len(writes)
        with self._connections.taken() as session:
            session.make_table()
            for places in _turns(writes):
                written = _write(session, space, [writes[place] for place in places])
                for place in places:
                    done[place] = writes[place].key in written
        return done

    def scan(self, space: str) -> Iterator[tuple[bytes, Value]]:
        """By the order of the keys."""

        def read_page(lowest: bytes, most: int) -> list[tuple[bytes, Value]]:
            with self._connections.taken() as session:
                rows = session.query(SCAN, space, lowest, most) if session.find_table() else []
            return [(key, Value(version, data)) for key, version, data in rows]

        return scan_by_key(read_page)

    def spaces(self, prefix: str = "") -> list[str]:
        """See `interface.Store`."""
        with self._connections.taken() as session:
            rows = session.query(SPACES, prefix) if session.find_table() else []
        return [space for (space,) in rows]

    def drop(self, space: str) -> None:
        """In many short transactions."""
        lowest, most = b"", FIRST_PAGE
        with self._connections.taken() as session:
            if not session.find_table():
                return
            while sizes := session.query(SIZES, space, lowest, most):
                highest = sizes[-1][0]
                session.query(DROP, space, lowest, highest)
                lowest, most = highest, next_page(most, sum(size for _, size in sizes))

    def close(self) -> None:
        """See `interface.Store`."""
        self._connections.close()


def _turns(writes: Sequence[Write]) -> list[list[int]]:
    """The places of the writes, in turns that have each key once: a statement cannot write it twice."""
    turns: list[list[int]] = []
    earlier: Counter[bytes] = Counter()
    for place, write in enumerate(writes):
        turn = earlier[write.key]
        earlier[write.key] += 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(place)
    return turns


def _write(session: Session, space: str, writes: Sequence[Write]) -> set[bytes]:
    """The keys that were written. All writers lock in the same order, so that no two wait for each other."""
    kinds: dict[str, list[Write]] = {PUT: [], REPLACE: []}
    for write in sorted(writes, key=lambda write: write.key):
        kinds[PUT if write.replaces is None else REPLACE].append(write)
    written: set[bytes] = set()
    for statement, own in kinds.items():
        for portion in portions(own, WRITES_PER_STATEMENT, BYTES_PER_STATEMENT):
            parameters: list[Any] = [space, [write.key for write in portion], [write.data for write in portion]]
            if statement == REPLACE:
                parameters.append([write.replaces for write in portion])
            written.update(key for (key,) in session.query(statement, *parameters))
    return written
