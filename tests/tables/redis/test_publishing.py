"""Loading, leases and sweeps: what a publisher leaves, whatever ends it."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.tables.interface import Table
from tests.servers.proxy import run_proxy
from tests.servers.valkey import ValkeyServer, run_valkey
from tests.tables.generations import make_frame, write_generation
from tests.tables.processes import publisher
from tests.tables.redis.publications import ROWS, call_once, make_generation, open_at, prediction, publish, rows_of


def assert_only_whole_generations(client: redis.Redis) -> None:
    """Rows that no reader is sent to expire; nothing else is left but the two generations that are kept."""
    entries = {name: json.loads(text) for name, text in client.hgetall("eta:generations").items()}
    kept = {name for name, entry in entries.items() if entry["state"] == "published"}
    lasting = [key.split(":")[1] for key in client.scan_iter("eta:g20*", 1000) if client.ttl(key) == -1]
    assert client.get("eta:current") in kept
    # What was loading when the connection broke has a lease for another minute.
    assert {name for name in lasting if not client.exists(f"eta:lease:{name}")} == kept
    assert {lasting.count(name) for name in kept} == {ROWS}


def test_what_a_killed_publisher_left_is_removed_by_the_next(
    table: Table, server: ValkeyServer, client: redis.Redis, tmp_path: Path
) -> None:
    dead, alive = make_generation(tmp_path), make_generation(tmp_path)
    with publisher(server.url(), dead, tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline() == "loaded\n"
        process.kill()
        process.wait()
    assert len(rows_of(client, dead)) == ROWS
    client.pexpire(f"eta:lease:{dead.name}", 1)  # instead of waiting for a minute
    while client.exists(f"eta:lease:{dead.name}"):
        time.sleep(0.001)
    publish(table, alive)
    assert rows_of(client, dead) == []
    assert client.hkeys("eta:generations") == [alive.name]


def test_what_a_living_publisher_has_loaded_is_left_alone(
    table: Table, server: ValkeyServer, client: redis.Redis, tmp_path: Path
) -> None:
    slow, fast = make_generation(tmp_path, 1), make_generation(tmp_path)
    with publisher(server.url(), slow, tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline() == "loaded\n"
        publish(table, fast)
        assert len(rows_of(client, slow)) == ROWS
        assert process.communicate("\n", timeout=60)[0] == "published\n"
    assert prediction(table) == 1001.0
    assert table.rollback().name == fast.name


def test_a_publisher_that_lost_its_lease_does_not_publish(
    table: Table, server: ValkeyServer, client: redis.Redis, tmp_path: Path
) -> None:
    late, other = make_generation(tmp_path, 1), make_generation(tmp_path)

    def lose() -> None:
        client.delete(f"eta:lease:{late.name}")
        with closing(open_at(server.url())) as table:
            publish(table, other)

    with pytest.raises(StoreError, match=r"stood still for 60 s.*run again"):
        table.publish(late, 2, call_once(lose))
    assert prediction(table) == 1.0
    publish(table, late)
    assert prediction(table) == 1001.0


def test_a_publisher_whose_generation_another_took_over_does_not_publish(
    table: Table, server: ValkeyServer, client: redis.Redis, tmp_path: Path
) -> None:
    generation = make_generation(tmp_path, rows=40_000)
    with publisher(server.url(), generation, tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline() == "loaded\n"

        def go_on() -> None:
            assert process.stdin
            process.stdin.write("\n" * 9)
            process.stdin.flush()

        table.publish(generation, 2, call_once(go_on))
        assert "published" not in process.communicate(timeout=60)[0]
        assert process.returncode != 0
    assert prediction(table, "39999") == 39999 / 7


def test_a_lease_is_renewed_with_every_batch(table: Table, client: redis.Redis, tmp_path: Path) -> None:
    generation = make_generation(tmp_path, rows=70_000)
    lease = f"eta:lease:{generation.name}"
    left = []

    def watch(rows: int) -> None:
        left.append(client.ttl(lease))
        client.expire(lease, 9)

    table.publish(generation, 2, watch)
    assert max(left[2:]) > 9
    assert not client.exists(lease)


def test_a_server_killed_while_loading_serves_the_old_generation_when_it_is_back(tmp_path: Path) -> None:
    first, second = make_generation(tmp_path), make_generation(tmp_path, 1, rows=40_000)
    with run_valkey(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        with closing(open_at(server.url())) as table:
            publish(table, first)
            with pytest.raises(StoreError, match=r"no connection.*run again"):
                table.publish(second, 2, call_once(server.kill))
            server.start()
            assert prediction(table) == 1.0
            publish(table, second)
            assert prediction(table, "39999") == 1000 + 39999 / 7
        with server.client() as client:
            assert len(rows_of(client, second)) == 40_000


def test_a_connection_that_the_server_closes_while_loading_is_said(
    table: Table, client: redis.Redis, tmp_path: Path
) -> None:
    first, second = make_generation(tmp_path), make_generation(tmp_path, 1, rows=70_000)
    publish(table, first)
    with pytest.raises(StoreError, match="no connection"):
        table.publish(second, 2, call_once(lambda: client.client_kill_filter(_type="normal", skipme=True)))
    assert prediction(table) == 1.0
    publish(table, second)
    assert prediction(table) == 1001.0


def test_wherever_the_connection_breaks_readers_keep_a_whole_generation(
    server: ValkeyServer, client: redis.Redis, tmp_path: Path
) -> None:
    """Bytes are let through until, with the last break, the whole publication gets by."""
    allowed, breaks, served = 0, 0, set()
    with run_proxy(server.port) as proxy, closing(open_at(server.url("&grace_s=50"))) as direct:
        address = server.url("&grace_s=50").replace(str(server.port), str(proxy.port))
        publish(direct, make_generation(tmp_path))
        while True:
            before, generation = direct.current(), make_generation(tmp_path)
            proxy.bytes_left = allowed
            try:
                with closing(open_at(address)) as table:
                    publish(table, generation)
                break
            except StoreError:
                breaks += 1
            current = direct.current()
            assert current is not None
            served.add(current == before)
            assert len(list(client.scan_iter(f"eta:{current.name}:*", 1000))) == ROWS
            publish(direct, generation)
            assert_only_whole_generations(client)
            allowed += 500
    assert breaks > 20
    assert served == {True, False}


def test_a_sweep_that_was_stopped_is_finished_by_the_next(
    server: ValkeyServer, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_generation(tmp_path, rows=5000), make_generation(tmp_path)
    with closing(open_at(server.url())) as table:
        publish(table, first)
        real, calls = redis.Redis.eval, iter(range(2))

        def stop_at_the_third(self: redis.Redis, *arguments: Any) -> Any:
            if next(calls, None) is None:
                raise redis.ConnectionError
            return real(self, *arguments)

        monkeypatch.setattr(redis.Redis, "eval", stop_at_the_third)
        with pytest.raises(StoreError):
            publish(table, second, keep=1)
        monkeypatch.undo()
        assert {client.ttl(key) > 0 for key in rows_of(client, first)} == {True, False}
        publish(table, second, keep=1)
    assert {client.ttl(key) > 0 for key in rows_of(client, first)} == {True}
    assert client.hkeys("eta:generations") == [second.name]


def test_a_generation_published_again_during_its_removal_keeps_its_rows(
    table: Table, server: ValkeyServer, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, other = make_generation(tmp_path, rows=5000), make_generation(tmp_path)
    publish(table, again)
    real, first_call = redis.Redis.scan, [True]

    def scan_then_publish(self: redis.Redis, *arguments: Any, **options: Any) -> Any:
        found = real(self, *arguments, **options)
        if first_call:
            first_call.clear()
            with closing(open_at(server.url())) as another:
                publish(another, again)
        return found

    monkeypatch.setattr(redis.Redis, "scan", scan_then_publish)
    publish(table, other, keep=1)
    assert prediction(table, "4999") == 4999 / 7
    assert {client.ttl(key) for key in rows_of(client, again)} == {-1}
    assert len(rows_of(client, again)) == 5000


def test_a_full_memory_leaves_the_old_generation_and_none_of_the_new_one(tmp_path: Path) -> None:
    first, large = make_generation(tmp_path), make_generation(tmp_path, 1, rows=60_000)
    with run_valkey(tmp_path, "--maxmemory", "10mb") as server, closing(open_at(server.url())) as table:
        publish(table, first)
        with pytest.raises(StoreError, match=r"memory is full.*maxmemory"):
            publish(table, large)
        with server.client() as client:
            assert rows_of(client, large) == []
            client.set("others", "can write")
        assert prediction(table) == 1.0
        publish(table, make_generation(tmp_path, 2))
        assert prediction(table) == 2001.0


def test_a_server_that_may_drop_predictions_is_refused_until_that_is_accepted(tmp_path: Path) -> None:
    generation = make_generation(tmp_path)
    settings = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with run_valkey(tmp_path, *settings) as server:
        with closing(open_at(server.url())) as table, pytest.raises(UsageError, match=r"allkeys-lru.*noeviction"):
            publish(table, generation)
        with closing(open_at(server.url("&eviction=accepted"))) as table:
            publish(table, generation)
            assert prediction(table) == 1.0


def test_a_key_column_that_json_would_not_have_is_refused_before_anything_is_loaded(
    table: Table, client: redis.Redis, tmp_path: Path
) -> None:
    frame = make_frame(3).with_columns(blob=b"x")
    with pytest.raises(UsageError, match="'blob'"):
        publish(table, write_generation(tmp_path, frame))
    assert client.dbsize() == 0
