"""What Redis tables do beyond the contract: for plain clients, for readers of old generations, and after failures."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.tables.generation import Generation
from mlops_kit.tables.interface import Table
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.servers.proxy import run_proxy
from tests.servers.valkey import ValkeyServer, run_valkey
from tests.tables.generations import make_frame, write_generation
from tests.tables.processes import publisher

ROWS = 40


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


def open_at(address: str, password: str = "") -> Table:
    return open_table(resolve_address(address), password)


def publish(table: Table, generation: Generation, keep: int = 2) -> None:
    table.publish(generation, keep, lambda rows: None)


def make_generation(folder: Path, number: int = 0, rows: int = ROWS) -> Generation:
    """Its predictions are `number` thousands larger than those of 0."""
    return write_generation(folder, make_frame(rows, 1000.0 * number), parts=1)


def prediction(table: Table, key: str = "7") -> Any:
    found = table.get([key])
    return found and found.values["prediction"]


def rows_of(client: redis.Redis, generation: Generation) -> list[str]:
    return list(client.scan_iter(f"eta:{generation.name}:*", 1000))


def call_once(work: Callable[[], object]) -> Callable[[int], None]:
    """For `on_rows`: do the work when the first rows are loaded."""
    works = [work]
    return lambda rows: works and works.pop()() and None


def test_a_plain_client_needs_three_lines(table: Table, server: ValkeyServer, tmp_path: Path) -> None:
    published = make_generation(tmp_path)
    publish(table, published)
    r = redis.Redis(port=server.port, decode_responses=True)
    generation = r.get("eta:current")
    row = json.loads(r.get(f"eta:{generation}:{7}"))
    assert generation == published.name
    assert row["prediction"] == 1.0
    assert list(row) == make_frame(1).columns


def test_the_digest_and_the_time_are_there_for_plain_clients(
    table: Table, client: redis.Redis, tmp_path: Path
) -> None:
    generation = make_generation(tmp_path)
    publish(table, generation)
    entry = json.loads(client.hget("eta:generations", client.get("eta:current")))
    assert (entry["digest"], entry["predicted_at"]) == (generation.digest, generation.predicted_at)
    assert (entry["rows"], entry["key"], entry["state"]) == (ROWS, ["id"], "published")


def test_a_look_up_is_one_command(table: Table, client: redis.Redis, tmp_path: Path) -> None:
    publish(table, make_generation(tmp_path))
    prediction(table)
    client.config_resetstat()
    assert [prediction(table, str(i)) for i in range(20)]
    calls = {name: stats["calls"] for name, stats in client.info("commandstats").items()}
    del calls["cmdstat_config|resetstat"]
    assert calls == {"cmdstat_mget": 20}


def test_the_rows_of_a_retired_generation_stay_for_the_time_of_grace(
    server: ValkeyServer, client: redis.Redis, tmp_path: Path
) -> None:
    first, second = make_generation(tmp_path), make_generation(tmp_path, 1)
    with closing(open_at(server.url("&grace_s=100"))) as table:
        publish(table, first)
        remembered = client.get("eta:current")
        publish(table, second, keep=1)
    assert json.loads(client.get(f"eta:{remembered}:7"))["prediction"] == 1.0
    assert {0 < client.ttl(key) <= 100 for key in rows_of(client, first)} == {True}
    assert len(rows_of(client, first)) == ROWS
    assert {client.ttl(key) for key in rows_of(client, second)} == {-1}
    assert client.hkeys("eta:generations") == [second.name]


def test_the_time_of_grace_is_an_hour_unless_told(table: Table, client: redis.Redis, tmp_path: Path) -> None:
    first = make_generation(tmp_path)
    publish(table, first)
    publish(table, make_generation(tmp_path), keep=1)
    assert {3500 < client.ttl(key) <= 3600 for key in rows_of(client, first)} == {True}


def test_the_rows_of_a_retired_generation_vanish_in_the_end(
    server: ValkeyServer, client: redis.Redis, tmp_path: Path
) -> None:
    first, second = make_generation(tmp_path), make_generation(tmp_path)
    with closing(open_at(server.url("&grace_s=1"))) as table:
        publish(table, first)
        publish(table, second, keep=1)
    deadline = time.monotonic() + 20
    while client.dbsize() > ROWS + 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(rows_of(client, second)) == client.dbsize() - 2 == ROWS


def test_a_retired_generation_that_is_published_again_does_not_expire(
    table: Table, client: redis.Redis, tmp_path: Path
) -> None:
    first, second = make_generation(tmp_path), make_generation(tmp_path, 1)
    for generation in (first, second, first):
        publish(table, generation, keep=1)
    assert prediction(table) == 1.0
    assert {client.ttl(key) for key in rows_of(client, first)} == {-1}


def test_a_rolled_back_generation_is_readable_until_the_next_publication(
    table: Table, client: redis.Redis, tmp_path: Path
) -> None:
    first, second, third = (make_generation(tmp_path, i) for i in range(3))
    publish(table, first)
    publish(table, second)
    table.rollback()
    assert {client.ttl(key) for key in rows_of(client, second)} == {-1}
    publish(table, third)
    assert {client.ttl(key) > 0 for key in rows_of(client, second)} == {True}


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


def assert_only_whole_generations(client: redis.Redis) -> None:
    """Rows that no reader is sent to expire; nothing else is left but the two generations that are kept."""
    entries = {name: json.loads(text) for name, text in client.hgetall("eta:generations").items()}
    kept = {name for name, entry in entries.items() if entry["state"] == "published"}
    lasting = [key.split(":")[1] for key in client.scan_iter("eta:g20*", 1000) if client.ttl(key) == -1]
    assert client.get("eta:current") in kept
    # What was loading when the connection broke has a lease for another minute.
    assert {name for name in lasting if not client.exists(f"eta:lease:{name}")} == kept
    assert {lasting.count(name) for name in kept} == {ROWS}


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


def test_a_get_while_generations_come_and_go_at_once_never_misses(server: ValkeyServer, tmp_path: Path) -> None:
    """Rows are removed without any grace, so that nothing but the current generation is ever there."""
    address = server.url("&grace_s=0")
    generations = [make_generation(tmp_path, i) for i in range(6)]
    missed: list[str] = []
    done = threading.Event()

    def read() -> None:
        with closing(open_at(address)) as table:
            while not done.is_set():
                missed.extend(str(i) for i in range(ROWS) if table.get([str(i)]) is None)

    with closing(open_at(address)) as table:
        publish(table, generations[0])
        reading = threading.Thread(target=read)
        reading.start()
        for i in range(40):
            publish(table, generations[i % 6], keep=1 + i % 2)
            if i % 4 == 3:
                table.rollback()
        done.set()
        reading.join()
    assert missed == []


@pytest.mark.parametrize("name", ["e*", "et?", "[e]ta", "eta\\"])
def test_the_name_of_a_table_is_no_pattern(
    server: ValkeyServer, client: redis.Redis, tmp_path: Path, name: str
) -> None:
    generation, other = make_generation(tmp_path), make_generation(tmp_path)
    odd = server.url("&grace_s=0").replace("table=eta", f"table={name.replace('?', '%3F')}")
    with closing(open_at(server.url())) as table, closing(open_at(odd)) as odd_table:
        publish(table, generation)
        publish(odd_table, generation)
        publish(odd_table, other, keep=1)
        assert prediction(table) == prediction(odd_table) == 1.0
    assert not [key for key in client.scan_iter() if key.startswith(f"{name}:{generation.name}:")]


def test_two_databases_of_a_server_are_two_tables(server: ValkeyServer, tmp_path: Path) -> None:
    with closing(open_at(server.url())) as zero, closing(open_at(server.url(database=3))) as three:
        publish(zero, make_generation(tmp_path))
        assert three.current() is None
        publish(three, make_generation(tmp_path, 3))
        assert (prediction(zero), prediction(three)) == (1.0, 3001.0)


def test_a_key_column_that_json_would_not_have_is_refused_before_anything_is_loaded(
    table: Table, client: redis.Redis, tmp_path: Path
) -> None:
    frame = make_frame(3).with_columns(blob=b"x")
    with pytest.raises(UsageError, match="'blob'"):
        publish(table, write_generation(tmp_path, frame))
    assert client.dbsize() == 0
