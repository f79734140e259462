"""A fresh store of each kind, and none but the test knows it. PostgreSQL takes its password from PGPASSWORD."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.valkey import ValkeyServer

SCHEMES = ("sqlite", "redis", "postgresql")


@contextmanager
def new_store(scheme: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Its address."""
    if scheme == "sqlite":
        yield f"sqlite:///{folder}/features.db"
    elif scheme == "redis":
        server: ValkeyServer = request.getfixturevalue("valkey_server")
        with server.client() as client:
            client.flushall()
        yield f"redis://127.0.0.1:{server.port}/0"
    else:
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        with postgres.new_database() as database:
            yield postgres.url(database, escaped="")
