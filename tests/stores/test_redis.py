import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.stores.interface import Store, Value, Write
from mlops_kit.stores.resolve import open_store
from tests.servers.proxy import run_proxy
from tests.servers.valkey import ValkeyServer, run_valkey
from tests.stores.contract import scanned, value_of

PASSWORD = "s3cret"


@pytest.fixture
def scheme() -> str:
    return "redis"


@pytest.fixture
def client(address: str, valkey_server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey_server.port) as client:
        yield client


def at(server: ValkeyServer, query: str = "", user: str = "", database: int = 0) -> str:
    return f"redis://{user}127.0.0.1:{server.port}/{database}{query}"


def test_a_value_is_a_version_and_the_data_in_a_hash(store: Store, client: redis.Redis) -> None:
    store.write("a:b", [Write(b"k", b"data"), Write(b"k", b"more")])
    assert client.keys() == [b"mlkit:values:1:a:b"]
    assert client.hgetall("mlkit:values:1:a:b") == {b"k": b"\0\0\0\0\0\0\0\2more"}


def test_what_others_keep_there_is_left_alone(store: Store, client: redis.Redis) -> None:
    others = ["mlkit:current", "mlkit:values", "mlkit:values:2:a", "a", "mlkit:g20261121:1"]
    client.mset(dict.fromkeys(others, "theirs"))
    store.write("a", [Write(b"k", b"1")])
    assert store.spaces() == ["a"]
    store.drop("a")
    assert sorted(client.keys()) == sorted(other.encode() for other in others)


def test_a_key_that_is_something_elses_is_not_overwritten(store: Store, client: redis.Redis) -> None:
    client.set("mlkit:values:1:a", "theirs")
    for use in (
        lambda: value_of(store, b"k"),
        lambda: store.write("a", [Write(b"k", b"")]),
        lambda: list(store.scan("a")),
    ):
        with pytest.raises(UsageError, match="in use by something else"):
            use()
    assert client.get("mlkit:values:1:a") == b"theirs"


def test_an_answer_that_nobody_waited_for_is_not_taken_for_another(store: Store, client: redis.Redis) -> None:
    client.set("mlkit:values:1:theirs", "theirs")
    store.write("a", [Write(b"k", b"1")])
    with pytest.raises(UsageError):
        store.read([("theirs", b"k"), ("a", b"k")])
    assert value_of(store, b"k", "b") is None


def test_a_key_that_the_server_gives_twice_is_scanned_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it may: https://redis.io/docs/latest/commands/scan/#scan-guarantees."""
    keys = [b"%d" % number for number in range(3000)]
    store.write("a", [Write(key, bytes(100)) for key in keys])
    real, before = redis.Redis.hscan, dict[bytes, bytes]()

    def hscan(self: redis.Redis, *arguments: Any, **options: Any) -> Any:
        cursor, page = real(self, *arguments, **options)
        repeated = {**before, **page}
        before.update(page)
        return cursor, repeated

    monkeypatch.setattr(redis.Redis, "hscan", hscan)
    assert sorted(key for key, _ in store.scan("a")) == sorted(keys)


def test_databases_are_apart(valkey_server: ValkeyServer, store: Store) -> None:
    store.write("a", [Write(b"k", b"1")])
    with closing(open_store(at(valkey_server, database=3))) as other:
        assert other.spaces() == []


def test_a_server_that_evicts_is_refused_unless_that_is_accepted(tmp_path: Path) -> None:
    with run_valkey(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        with closing(open_store(at(server))) as store:
            assert value_of(store, b"k") is None
            with pytest.raises(UsageError, match=r"could vanish.*allkeys-lru.*eviction=accepted"):
                store.write("a", [Write(b"k", b"")])
            with server.client() as client:
                client.config_set("maxmemory-policy", "volatile-ttl")
            assert store.write("a", [Write(b"k", b"")]) == [True]
            with server.client() as client:
                client.config_set("maxmemory-policy", "allkeys-lru")
        with closing(open_store(at(server, "?eviction=accepted"))) as store:
            assert store.write("a", [Write(b"k", b"")]) == [True]


def test_a_full_memory_is_said_and_leaves_values_whole(tmp_path: Path) -> None:
    with run_valkey(tmp_path, "--maxmemory", "10mb") as server, closing(open_store(at(server))) as store:
        store.write("a", [Write(b"k", b"1")])
        with pytest.raises(StoreError, match=r"memory is full.*maxmemory"):
            store.write("a", [Write(b"%d" % number, bytes(1000)) for number in range(20_000)])
        store.drop("b")
        assert value_of(store, b"k") == Value(1, b"1")
        assert {value.data for key, value in scanned(store, "a").items() if key != b"k"} == {bytes(1000)}
        store.drop("a")
        with server.client() as client:
            while client.info("memory")["used_memory"] > 8_000_000:
                pass  # it frees what was dropped in a thread of its own
        assert store.write("a", [Write(b"k", b"1")]) == [True]


def test_a_server_that_was_killed_is_used_again_when_it_is_back(tmp_path: Path) -> None:
    settings = ("--appendonly", "yes", "--appendfsync", "always")
    with run_valkey(tmp_path, *settings) as server, closing(open_store(at(server))) as store:
        store.write("a", [Write(b"k", b"1")])
        server.kill()
        for use in (lambda: value_of(store, b"k"), lambda: store.write("a", [Write(b"k", b"2")])):
            with pytest.raises(StoreError, match=r"no connection.*run again"):
                use()
        server.start()
        assert value_of(store, b"k") == Value(1, b"1")
        assert store.write("a", [Write(b"k", b"2", 1)]) == [True]


def test_a_server_that_hangs_is_not_waited_for(address: str, client: redis.Redis) -> None:
    with closing(open_store(f"{address}?timeout_s=0.1")) as store:
        store.write("a", [Write(b"k", b"1")])
        client.execute_command("CLIENT PAUSE", 1000)
        with pytest.raises(StoreError, match="silent for too long"):
            value_of(store, b"k")
        client.ping()  # is answered when the pause is over
        assert value_of(store, b"k") == Value(1, b"1")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server with a password, and a user `reader` that may only read."""
    reader = f"--user reader on >{PASSWORD} ~mlkit:values:* +@read +@connection"
    with run_valkey(tmp_path_factory.mktemp("guarded"), "--requirepass", PASSWORD, *reader.split()) as server:
        yield server


@pytest.mark.parametrize(
    ("user", "password"), [("", ""), ("", "wr0ng"), ("nobody@", PASSWORD), ("default:wr0ng@", PASSWORD)]
)
def test_without_the_right_password_there_is_no_access(guarded: ValkeyServer, user: str, password: str) -> None:
    with pytest.raises(StoreError, match=r"no access.*user and password") as raised:
        open_store(at(guarded, user=user), password)
    assert "wr0ng" not in str(raised.value)


def test_who_may_only_read_reads_and_is_told_so(guarded: ValkeyServer) -> None:
    with closing(open_store(at(guarded), PASSWORD)) as store:
        store.write("a", [Write(b"k", b"1")])
    with closing(open_store(at(guarded, "?eviction=accepted", "reader@"), PASSWORD)) as store:
        assert value_of(store, b"k") == Value(1, b"1")
        assert scanned(store, "a") == {b"k": Value(1, b"1")}
        assert store.spaces() == ["a"]
        for use in (lambda: store.write("a", [Write(b"k", b"")]), lambda: store.drop("a")):
            with pytest.raises(StoreError, match="no permission"):
                use()


def test_tls_with_a_certificate_that_is_vouched_for(valkey_server: ValkeyServer, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with run_proxy(valkey_server.port, context) as proxy:
        address = f"rediss://127.0.0.1:{proxy.port}/0"
        with closing(open_store(f"{address}?ca={tmp_path}/ca.pem")) as store:
            assert store.write("a", [Write(b"k", b"1")]) == [True]
            assert value_of(store, b"k") is not None
        with pytest.raises(StoreError, match="not trusted"):
            open_store(address)
