"""Every backend that the contract is tested with: where a test can publish, and where nobody can.

A new backend adds its entry to `BACKENDS`, and if it needs a server, a session fixture to tests/conftest.py.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.cassandra import CassandraServer
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import ValkeyServer


@dataclass(frozen=True, slots=True)
class Backend:
    """`place` gives the address of a table `eta`, written `?table=eta`, that only this test knows, in a place that is
    empty; its arguments are the test's request, through which it gets its server, and the test's own folder.
    At `unreachable` there is no such server or file, and there can be none.
    """

    place: Callable[[pytest.FixtureRequest, Path], AbstractContextManager[str]]
    unreachable: str
    takes_tables_without_key: bool = True
    takes_changed_types: bool = True


@contextmanager
def folder_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    yield f"{folder}/new folder/predictions?table=eta"


@contextmanager
def sqlite_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder}/new folder/predictions.db?table=eta"


@contextmanager
def duckdb_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    yield f"duckdb:///{folder}/new folder/predictions.duckdb?table=eta"


@contextmanager
def postgres_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.new_database() as database:
        yield f"{server.url(database)}?table=eta"


@contextmanager
def redis_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    server: ValkeyServer = request.getfixturevalue("valkey_server")
    with server.client() as client:
        client.flushall()
    yield server.url()


@contextmanager
def cassandra_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    server: CassandraServer = request.getfixturevalue("cassandra_server")
    yield f"{server.url(server.new_keyspace())}?table=eta"


BACKENDS = {
    "folder": Backend(folder_place, "/dev/null/predictions"),
    "sqlite": Backend(sqlite_place, "sqlite:////dev/null/predictions.db?table=eta"),
    "duckdb": Backend(duckdb_place, "duckdb:////dev/null/predictions.duckdb?table=eta"),
    "postgresql": Backend(postgres_place, "postgresql://127.0.0.1:1/predictions?table=eta"),
    "redis": Backend(redis_place, "redis://127.0.0.1:1/0?table=eta", takes_tables_without_key=False),
    "cassandra": Backend(
        cassandra_place,
        "cassandra://127.0.0.1:1/predictions?table=eta",
        takes_tables_without_key=False,
        takes_changed_types=False,
    ),
}
"""By scheme."""
