"""The servers that backends of tables need, started by the first test that asks, and a table in each backend."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlops_kit.tables.interface import Table
from tests.servers.postgres import PostgresServer, run_postgres
from tests.servers.valkey import ValkeyServer, run_valkey
from tests.tables.backends import BACKENDS
from tests.tables.contract import open_at


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Its folder is outside of pytest's own, which no other user can enter."""
    with tempfile.TemporaryDirectory(prefix="mlkit-postgres-") as folder, run_postgres(Path(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    with tempfile.TemporaryDirectory(prefix="mlkit-valkey-") as folder, run_valkey(Path(folder)) as server:
        yield server


@pytest.fixture(params=BACKENDS)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def address(scheme: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with BACKENDS[scheme].place(request, tmp_path) as address:
        yield address


@pytest.fixture
def table(address: str) -> Iterator[Table]:
    with closing(open_at(address)) as table:
        yield table
