"""Servers that go away, that hang, or that let nobody in: said soon, and the same object works afterwards."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from mlops_kit.errors import StoreError
from mlops_kit.stores.interface import Store, Value, Write
from mlops_kit.stores.resolve import open_store
from tests.servers.proxy import Proxy, run_proxy
from tests.stores.contract import scanned, value_of


@pytest.fixture(params=["redis", "postgresql"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def proxy(scheme: str, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    server = request.getfixturevalue("valkey_server" if scheme == "redis" else "postgres_server")
    with run_proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def far_store(address: str, proxy: Proxy) -> Iterator[Store]:
    """Through the proxy."""
    head, _, tail = address.rpartition(":")
    with closing(open_store(f"{head}:{proxy.port}/{tail.partition('/')[2]}")) as store:
        yield store


def test_a_server_that_is_away_is_said_and_found_again(far_store: Store, proxy: Proxy) -> None:
    far_store.write("a", [Write(b"k", b"1")])
    proxy.bytes_left = 0
    for use in (
        lambda: far_store.read([("a", b"k")]),
        lambda: far_store.write("a", [Write(b"l", b"")]),
        lambda: list(far_store.scan("a")),
        lambda: far_store.spaces(),
        lambda: far_store.drop("a"),
    ):
        with pytest.raises(StoreError) as raised:
            use()
        assert raised.value.fix
    proxy.bytes_left = None
    assert scanned(far_store, "a") == {b"k": Value(1, b"1")}
    assert far_store.write("a", [Write(b"k", b"2", 1)]) == [True]


def test_wherever_the_connection_breaks_every_value_is_whole(far_store: Store, store: Store, proxy: Proxy) -> None:
    keys = [b"%d" % number for number in range(1000)]
    allowed, breaks = 0, 0
    while True:
        proxy.bytes_left = allowed
        try:
            assert all(far_store.write("a", [Write(key, key * 100) for key in keys]))
            break
        except StoreError:
            breaks += 1
        assert all(value.data == key * 100 for key, value in scanned(store, "a").items())
        allowed += 40_000
    assert breaks > 5
    assert len(scanned(store, "a")) == len(keys)


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(
    scheme: str, store: Store, request: pytest.FixtureRequest
) -> None:
    store.write("a", [Write(b"k", b"1")])
    if scheme == "redis":
        with request.getfixturevalue("valkey_server").client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
    else:
        request.getfixturevalue("postgres_server").query(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'mlkit'"
        )
    assert store.write("a", [Write(b"k", b"2", 1)]) == [True]
    assert value_of(store, b"k") == Value(2, b"2")
