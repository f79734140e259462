"""Servers, each started by the first test that asks, and the rule that nothing is skipped where all can be had."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers.cassandra import CassandraServer, run_cassandra
from tests.servers.postgres import PostgresServer, run_postgres
from tests.servers.valkey import ValkeyServer, run_valkey

# A busy machine is slow, and that is no fault of the example.
settings.register_profile("mlkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mlkit")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """With MLKIT_TEST_NO_SKIPS, a skipped test is a failed one."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("MLKIT_TEST_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and nothing may be skipped here: {report.longrepr}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Its folder is outside of pytest's own, which no other user can enter."""
    with tempfile.TemporaryDirectory(prefix="mlkit-postgres-") as folder, run_postgres(Path(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    with tempfile.TemporaryDirectory(prefix="mlkit-valkey-") as folder, run_valkey(Path(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def cassandra_server() -> Iterator[CassandraServer]:
    with tempfile.TemporaryDirectory(prefix="mlkit-cassandra-") as folder, run_cassandra(Path(folder)) as server:
        yield server
