"""An empty server, a client of it, and a table on it."""

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from mlops_kit.tables.interface import Table
from tests.servers.valkey import ValkeyServer
from tests.tables.redis.publications import open_at


@pytest.fixture
def server(valkey_server: ValkeyServer) -> ValkeyServer:
    """With nothing in it."""
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[redis.Redis]:
    with server.client() as client:
        yield client


@pytest.fixture
def table(server: ValkeyServer) -> Iterator[Table]:
    with closing(open_at(server.url())) as table:
        yield table
