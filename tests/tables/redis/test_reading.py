"""What readers of Redis get, plain clients and look-ups, of the current generation and of old ones."""

import json
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
import redis

from mlops_kit.tables.interface import Table
from tests.servers.valkey import ValkeyServer
from tests.tables.generations import make_frame
from tests.tables.redis.publications import ROWS, make_generation, open_at, prediction, publish, rows_of


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
