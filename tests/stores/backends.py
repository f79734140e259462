"""Every backend that the contract is tested with: where a test can write, and where nobody can."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.valkey import ValkeyServer


@dataclass(frozen=True, slots=True)
class Backend:
    """`place` gives the address of an empty store that only this test knows. At `unreachable` there can be none."""

    place: Callable[[pytest.FixtureRequest, Path], AbstractContextManager[str]]
    unreachable: str


@contextmanager
def sqlite_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    yield f"sqlite:///{folder}/new folder/features.db"


@contextmanager
def redis_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    server: ValkeyServer = request.getfixturevalue("valkey_server")
    with server.client() as client:
        client.flushall()
    yield f"redis://127.0.0.1:{server.port}/0"


@contextmanager
def postgres_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.new_database() as database:
        yield server.url(database)


BACKENDS = {
    "sqlite": Backend(sqlite_place, "sqlite:////dev/null/features.db"),
    "redis": Backend(redis_place, "redis://127.0.0.1:1/0"),
    "postgresql": Backend(postgres_place, "postgresql://127.0.0.1:1/features"),
}
"""By scheme."""
