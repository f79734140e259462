import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from adbc_driver_postgresql import dbapi

from mlops_kit.errors import InputError, StoreError, UsageError
from mlops_kit.tables.interface import Table
from mlops_kit.tables.postgres import session
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.servers.postgres import PASSWORD, PostgresServer
from tests.tables.contract import ROWS, assert_serves, generations, open_at, publish
from tests.tables.generations import make_frame, write_generation
from tests.tables.processes import publisher

Query = Callable[[str], list[Any]]


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.new_database() as name:
        yield name


@pytest.fixture
def query(postgres_server: PostgresServer, database: str) -> Query:
    return lambda sql: postgres_server.query(sql, database)


@pytest.fixture
def url(postgres_server: PostgresServer, database: str) -> str:
    return postgres_server.url(database)


@pytest.fixture
def table(url: str) -> Iterator[Table]:
    with closing(open_at(f"{url}?table=eta")) as table:
        yield table


@contextmanager
def transaction(url: str, *statements: str) -> Iterator[None]:
    """Somebody's transaction, in which these were run, and which is still open."""
    with closing(dbapi.connect(url, autocommit=True)) as connection, connection.cursor() as cursor:
        for statement in ("BEGIN", *statements):
            cursor.execute(statement)
        yield


def tables(query: Query) -> list[str]:
    return [
        name
        for (name,) in query("SELECT relname::text FROM pg_class WHERE relname ~ '^eta__.*[0-9a-f]$' ORDER BY 1")
    ]


def cut(query: Query) -> None:
    """End all other connections to the database, as an administrator or a restart would."""
    query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'mlkit'")


def test_other_programs_read_a_view(table: Table, query: Query, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(12)))
    assert query(
        "SELECT id, origin, day::text, is_late, note, small, single, prediction FROM eta WHERE id = 1"
    ) == [(1, "JFK 0:%'\"\\ é", "2026-11-02", False, "note 1", 1, 0.3333333432674408, 1 / 7)]
    assert query("SELECT id FROM eta WHERE prediction = 'NaN'") == [(10,)]


def test_a_column_has_the_type_that_people_expect(table: Table, query: Query, tmp_path: Path) -> None:
    frame = make_frame(3).with_columns(
        large=pl.col("id").cast(pl.UInt64), items=pl.lit([0.5]), kind=pl.lit("a").cast(pl.Categorical)
    )
    publish(table, write_generation(tmp_path, frame))
    sql = (
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'eta'::regclass"
    )
    assert dict(query(f"{sql} AND attnum > 0")) == {
        "id": "bigint", "origin": "text", "day": "date", "at": "timestamp with time zone", "is_late": "boolean",
        "note": "text", "small": "smallint", "single": "real", "prediction": "double precision",
        "large": "numeric(20,0)", "items": "double precision[]", "kind": "text",
    }  # fmt: skip


def test_a_look_up_uses_the_index(table: Table, query: Query, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(5000)))
    assert "Index Scan" in query("EXPLAIN SELECT * FROM eta WHERE id = 17")[0][0]


def test_a_table_can_be_in_a_schema(url: str, query: Query, tmp_path: Path) -> None:
    query('CREATE SCHEMA "Score s"')
    generation = write_generation(tmp_path, make_frame(ROWS))
    with closing(open_at(f"{url}?table=Score s.eta")) as table:
        publish(table, generation)
        assert_serves(table, generation, make_frame(ROWS))
    assert query('SELECT count(*) FROM "Score s".eta') == [(ROWS,)]
    assert query("SELECT to_regclass('public.mlkit_generations')::text") == [(None,)]


def test_a_schema_that_is_missing_is_named(url: str, tmp_path: Path) -> None:
    with closing(open_at(f"{url}?table=scores.eta")) as table:
        assert table.current() is None
        with pytest.raises(UsageError, match='schema "scores" does not exist'):
            publish(table, write_generation(tmp_path, make_frame(3)))


def test_privileges_and_views_on_the_view_stay(table: Table, query: Query, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    query("GRANT SELECT ON eta TO PUBLIC")
    query("CREATE VIEW best AS SELECT max(prediction) AS prediction FROM eta")
    publish(table, second, keep=1)
    assert query("SELECT prediction >= 1000 FROM best") == [(True,)]
    assert query("SELECT has_table_privilege('pg_monitor', 'eta', 'SELECT')") == [(True,)]


def test_privileges_survive_other_columns(table: Table, query: Query, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(3)))
    query("GRANT SELECT ON eta TO PUBLIC")
    query("GRANT SELECT, UPDATE ON eta TO pg_monitor WITH GRANT OPTION")
    publish(table, write_generation(tmp_path, make_frame(3).drop("note")))
    for role, privilege in (("pg_signal_backend", "SELECT"), ("pg_monitor", "UPDATE WITH GRANT OPTION")):
        assert query(f"SELECT has_table_privilege('{role}', 'eta', '{privilege}')") == [(True,)]


def test_other_columns_are_refused_where_a_view_depends_on_them(
    table: Table, query: Query, tmp_path: Path
) -> None:
    first = write_generation(tmp_path, make_frame(ROWS))
    publish(table, first)
    query("CREATE VIEW notes AS SELECT note FROM eta")
    with pytest.raises(UsageError, match="other views depend on it"):
        publish(table, write_generation(tmp_path, make_frame(ROWS).drop("note")))
    assert_serves(table, first, make_frame(ROWS))
    third = write_generation(tmp_path, make_frame(ROWS))
    publish(table, third)
    assert tables(query) == [f"eta__{first.name}", f"eta__{third.name}"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE eta (a INTEGER)",
        "CREATE VIEW eta AS SELECT 1 AS a",
        "CREATE MATERIALIZED VIEW eta AS SELECT 1 AS a",
    ],
)
def test_what_somebody_else_made_is_not_replaced(
    table: Table, query: Query, tmp_path: Path, statement: str
) -> None:
    query(statement)
    with pytest.raises(UsageError, match="mlkit did not make"):
        publish(table, write_generation(tmp_path, make_frame(3)))
    query("SELECT a FROM eta")


def test_a_role_needs_to_read_the_view_and_the_registry_only(
    postgres_server: PostgresServer, table: Table, query: Query, database: str, tmp_path: Path
) -> None:
    generation = write_generation(tmp_path, make_frame(ROWS))
    publish(table, generation)
    with role(query) as name:
        query(f"GRANT SELECT ON eta, mlkit_generations TO {name}")
        reading = f"postgresql://{name}:pw@127.0.0.1:{postgres_server.port}/{database}?table=eta"
        with closing(open_at(reading)) as table_of_role:
            assert_serves(table_of_role, generation, make_frame(ROWS))
            with pytest.raises(StoreError, match="permission denied") as raised:
                publish(table_of_role, write_generation(tmp_path, make_frame(3)))
            assert "grant" in raised.value.fix
    assert_serves(table, generation, make_frame(ROWS))


@contextmanager
def role(query: Query) -> Iterator[str]:
    query("CREATE ROLE reader LOGIN PASSWORD 'pw'")
    try:
        yield "reader"
    finally:
        query("DROP OWNED BY reader")
        query("DROP ROLE reader")


def test_a_reader_of_an_old_generation_is_not_waited_for(
    table: Table, url: str, query: Query, tmp_path: Path
) -> None:
    first, second, third = generations(tmp_path, 3)
    publish(table, first)
    with transaction(url, f'SELECT * FROM "eta__{first.name}"'):
        publish(table, second, keep=1)
        assert tables(query) == sorted(f"eta__{generation.name}" for generation in (first, second))
    publish(table, third, keep=1)
    assert tables(query) == [f"eta__{third.name}"]


def test_a_statement_that_waits_for_the_switch_sees_all_rows(
    table: Table, query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    # What it sees is settled when the statement begins, and which table the view shows when the function runs.
    query(
        "CREATE FUNCTION rows_of_eta() RETURNS bigint STABLE LANGUAGE plpgsql AS "
        "'DECLARE n bigint; BEGIN EXECUTE ''SELECT count(*) FROM eta'' INTO n; RETURN n; END'"
    )
    point_view, counted = session.Session.point_view, []

    def switch_before_a_reader(self: session.Session, view: str, relation: str) -> None:
        point_view(self, view, relation)
        counted.append(pool.submit(query, "SELECT rows_of_eta()"))
        while not query("SELECT 1 FROM pg_locks WHERE NOT granted"):
            pass

    monkeypatch.setattr(session.Session, "point_view", switch_before_a_reader)
    with ThreadPoolExecutor() as pool:
        publish(table, second)
    assert [future.result() for future in counted] == [[(ROWS,)]]


def test_what_somebody_built_on_an_old_generation_stays(table: Table, query: Query, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    query(f'CREATE VIEW mine AS SELECT * FROM "eta__{first.name}"')
    publish(table, second, keep=1)
    assert query("SELECT count(*) FROM mine") == [(ROWS,)]
    assert_serves(table, second, make_frame(ROWS, 1000))


def test_a_switch_lets_other_readers_pass_while_a_long_one_is_in_its_way(
    table: Table, url: str, query: Query, tmp_path: Path
) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    loaded = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        with transaction(url, "SELECT * FROM eta"):
            publishing = thread.submit(table.publish, second, 2, lambda rows: loaded.set())
            loaded.wait()
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
            while query(waiting) == [(0,)]:
                pass
            assert query("SELECT prediction FROM eta WHERE id = 7") == [(1.0,)]
            assert not publishing.done()
        publishing.result()
    assert_serves(table, second, make_frame(ROWS, 1000))


def test_a_switch_that_cannot_be_made_leaves_the_generation_before(
    table: Table, url: str, query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PATIENCE_S", 0.0)
    first, second = generations(tmp_path, 2)
    publish(table, first)
    with transaction(url, "SELECT * FROM eta"), pytest.raises(StoreError, match="lock timeout"):
        publish(table, second)
    assert_serves(table, first, make_frame(ROWS))
    assert publish(table, second) == 0, "what is loaded is not loaded again"
    assert_serves(table, second, make_frame(ROWS, 1000))


def test_a_connection_lost_while_loading_leaves_the_generation_before(
    table: Table, query: Query, tmp_path: Path
) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    with pytest.raises(StoreError) as raised:
        table.publish(second, 2, lambda rows: cut(query))
    assert raised.value.why
    assert_serves(table, first, make_frame(ROWS))
    publish(table, second)
    assert_serves(table, second, make_frame(ROWS, 1000))


def test_a_connection_lost_while_idle_does_not_hinder_a_publication(
    table: Table, query: Query, tmp_path: Path
) -> None:
    cut(query)
    generation = write_generation(tmp_path, make_frame(ROWS))
    publish(table, generation)
    assert_serves(table, generation, make_frame(ROWS))


def test_a_look_up_connects_again_after_it_failed(table: Table, query: Query, tmp_path: Path) -> None:
    generation = write_generation(tmp_path, make_frame(ROWS))
    publish(table, generation)
    cut(query)
    with pytest.raises(StoreError):
        table.get(["1"])
    assert_serves(table, generation, make_frame(ROWS))


def test_a_killed_publisher_leaves_no_table(table: Table, url: str, query: Query, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    with publisher(f"{url}?table=eta", second, tmp_path) as process:
        assert process.stdout
        process.stdout.readline()
    assert tables(query) == [f"eta__{first.name}"]


@pytest.mark.parametrize("value", ["a\0b"])
def test_a_text_that_postgresql_cannot_store_is_refused_without_it(
    table: Table, query: Query, tmp_path: Path, value: str
) -> None:
    frame = make_frame(3).with_columns(note=pl.lit(value))
    with pytest.raises(InputError, match="NUL") as raised:
        publish(table, write_generation(tmp_path, frame))
    assert value not in str(raised.value)
    assert tables(query) == []


def test_a_key_that_occurs_twice_is_refused_without_its_value(table: Table, tmp_path: Path) -> None:
    first = write_generation(tmp_path, make_frame(ROWS))
    publish(table, first)
    with pytest.raises(InputError, match="same key") as raised:
        publish(table, write_generation(tmp_path, make_frame(ROWS).with_columns(id=pl.lit(4711))))
    assert "4711" not in str(raised.value)
    assert_serves(table, first, make_frame(ROWS))


@pytest.mark.parametrize("name", ["x" * 64, "ctid"])
def test_a_column_name_that_postgresql_cannot_have_is_named(
    table: Table, query: Query, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match=name):
        publish(table, write_generation(tmp_path, make_frame(3).rename({"note": name})))
    assert tables(query) == []


def test_a_wrong_password_is_said_and_never_shown(postgres_server: PostgresServer) -> None:
    with pytest.raises(StoreError, match="password authentication failed") as raised:
        open_at(f"{postgres_server.url(escaped='secret')}?table=eta")
    assert "secret" not in str(raised.value)
    assert "PGPASSWORD" in raised.value.fix


@pytest.mark.parametrize("way", ["argument", "PGPASSWORD", "PGPASSFILE"])
def test_the_password_may_come_another_way(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:*:*:{PASSWORD.replace(':', chr(92) + ':')}\n")
    passwords.chmod(0o600)
    if way != "argument":
        monkeypatch.setitem(os.environ, way, {"PGPASSWORD": PASSWORD, "PGPASSFILE": str(passwords)}[way])
    address = resolve_address(f"{postgres_server.url(escaped='')}?table=eta")
    with closing(open_table(address, PASSWORD if way == "argument" else "")) as table:
        assert table.current() is None


def test_other_options_go_to_libpq(url: str) -> None:
    with pytest.raises(StoreError, match="SSL"):
        open_at(f"{url}?table=eta&sslmode=require")


def test_a_server_that_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StoreError, match="timeout"):
            open_at(f"postgresql://127.0.0.1:{port}/predictions?table=eta&connect_timeout=2")
