import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.stores.interface import Store, Value, Write
from mlops_kit.stores.postgres.statements import DESCRIBE
from mlops_kit.stores.resolve import open_store
from tests.servers.postgres import PASSWORD, PostgresServer
from tests.stores.contract import scanned, value_of

Query = Callable[[str], list[Any]]


@pytest.fixture
def scheme() -> str:
    return "postgresql"


@pytest.fixture
def query(postgres_server: PostgresServer, address: str) -> Query:
    return lambda sql: postgres_server.query(sql, address.rpartition("/")[2])


def test_a_schema_may_be_chosen(address: str, query: Query) -> None:
    query('CREATE SCHEMA "Feature s"')
    with closing(open_store(f"{address}?schema=Feature s")) as store, closing(open_store(address)) as other:
        store.write("a", [Write(b"k", b"1")])
        assert value_of(store, b"k") == Value(1, b"1")
        assert other.spaces() == []
    assert query('SELECT count(*) FROM "Feature s".mlkit_values') == [(1,)]


def test_a_schema_that_is_missing_is_said(address: str) -> None:
    with closing(open_store(f"{address}?schema=nowhere")) as store:
        assert value_of(store, b"k") is None
        with pytest.raises(UsageError, match="create the schema"):
            store.write("a", [Write(b"k", b"1")])


def test_libpq_has_its_options(address: str) -> None:
    with closing(open_store(f"{address}?application_name=tests")) as store:
        assert store.spaces() == []
    with pytest.raises(StoreError, match="sslmode"):
        open_store(f"{address}?sslmode=sometimes")


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE mlkit_values (name TEXT)"],
        ["CREATE TABLE mlkit_values (name TEXT)", "COMMENT ON TABLE mlkit_values IS 'mlkit values, layout 2'"],
    ],
)
def test_a_table_of_something_else_or_in_another_layout_is_refused(
    address: str, query: Query, statements: list[str]
) -> None:
    for statement in statements:
        query(statement)
    with pytest.raises(UsageError, match=r"mlkit_values.*another schema"):
        open_store(address)
    assert query("SELECT name FROM mlkit_values") == []


def test_a_table_that_another_process_makes_at_this_moment_is_taken_for_what_it_is(
    address: str, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question begins before there is a table, and looks for it when there is one: the server forgets that
    there was none when it locks something.
    """
    slow = f"{DESCRIBE} FROM (SELECT pg_advisory_lock_shared(1), pg_relation_size('pg_ts_dict')) AS waited"
    with (
        closing(open_store(f"{address}?application_name=slow")) as store,
        closing(open_store(address)) as other,
        psycopg.connect(address) as holder,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.execute("SELECT pg_advisory_lock(1)")
        monkeypatch.setattr("mlops_kit.stores.postgres.session.DESCRIBE", slow)
        found = pool.submit(value_of, store, b"k")
        while query("SELECT wait_event FROM pg_stat_activity WHERE application_name = 'slow'") != [("advisory",)]:
            assert not found.done()
        monkeypatch.undo()
        assert other.write("a", [Write(b"k", b"1")]) == [True]
        holder.execute("SELECT pg_advisory_unlock(1)")
        assert found.result() == Value(1, b"1")


def test_a_table_that_was_dropped_is_made_again(store: Store, query: Query) -> None:
    store.write("a", [Write(b"k", b"1")])
    assert value_of(store, b"k")
    query("DROP TABLE mlkit_values")
    with pytest.raises(StoreError, match="does not exist"):
        value_of(store, b"k")
    assert value_of(store, b"k") is None
    assert store.write("a", [Write(b"k", b"1", 0)]) == [True]


@contextmanager
def role(query: Query, rights: str) -> Iterator[str]:
    query("CREATE ROLE reader LOGIN PASSWORD 'pw'")
    try:
        query(f"GRANT {rights} ON mlkit_values TO reader")
        yield "reader"
    finally:
        query("DROP OWNED BY reader")
        query("DROP ROLE reader")


def test_a_role_needs_no_more_than_it_does(store: Store, address: str, query: Query) -> None:
    store.write("a", [Write(b"k", b"1")])
    place = address.rpartition("@")[2]
    with role(query, "SELECT") as name, closing(open_store(f"postgresql://{name}:pw@{place}")) as of_role:
        assert scanned(of_role, "a") == {b"k": Value(1, b"1")}
        assert of_role.spaces() == ["a"]
        for use in (lambda: of_role.write("a", [Write(b"k", b"2", 1)]), lambda: of_role.drop("a")):
            with pytest.raises(StoreError, match="permission denied") as raised:
                use()
            assert "grant" in raised.value.fix
        query("GRANT INSERT, UPDATE ON mlkit_values TO reader")
        assert of_role.write("a", [Write(b"k", b"2", 1)]) == [True]


@pytest.mark.parametrize("user", ["mlkit:wr0ng@", "nobody:wr0ng@"])
def test_without_the_right_password_there_is_no_access(address: str, user: str) -> None:
    with pytest.raises(StoreError, match="password authentication failed") as raised:
        open_store(f"postgresql://{user}{address.rpartition('@')[2]}", "another")
    assert "wr0ng" not in str(raised.value)


def test_the_password_may_come_beside_the_address(postgres_server: PostgresServer) -> None:
    with closing(open_store(postgres_server.url(escaped=""), PASSWORD)) as store:
        assert value_of(store, b"k") is None


def test_a_row_that_somebody_holds_is_waited_for_no_longer_than_was_asked(store: Store, address: str) -> None:
    store.write("a", [Write(b"k", b"1")])
    with closing(open_store(f"{address}?timeout_s=0.2")) as hasty:
        with psycopg.connect(address) as other:
            other.execute("SELECT * FROM mlkit_values FOR UPDATE")
            for use in (lambda: hasty.write("a", [Write(b"k", b"2")]), lambda: hasty.drop("a")):
                with pytest.raises(StoreError, match=r"timeout.*timeout_s"):
                    use()
            assert value_of(hasty, b"k") == Value(1, b"1")
        assert hasty.write("a", [Write(b"k", b"2", 1)]) == [True]


def test_a_server_that_hangs_is_not_waited_for(address: str, query: Query) -> None:
    with closing(open_store(f"{address}?timeout_s=0.2&application_name=hanging")) as store:
        assert value_of(store, b"k") is None
        ((process,),) = query("SELECT pid FROM pg_stat_activity WHERE application_name = 'hanging'")
        os.kill(process, signal.SIGSTOP)
        try:
            with pytest.raises(StoreError, match="timeout"):
                value_of(store, b"k")
        finally:
            os.kill(process, signal.SIGCONT)
        assert value_of(store, b"k") is None


def test_rows_are_found_by_the_index_whatever_the_server_believes(store: Store, query: Query) -> None:
    """It believes that the table has one row."""
    keys = [b"%d" % number for number in range(3000)]
    store.write("a", [Write(b"k", b"", 0)])
    query("ALTER TABLE mlkit_values SET (autovacuum_enabled = off)")
    query("ANALYZE mlkit_values")
    for version in range(3):
        store.write("a", [Write(key, b"", version) for key in keys])
        store.read([("a", key) for key in keys])
    store.drop("a")
    query("SELECT pg_stat_force_next_flush()")
    ((scans, read),) = query(
        "SELECT seq_scan, idx_tup_read FROM pg_stat_user_tables JOIN pg_stat_user_indexes USING (relid) WHERE pg_stat_user_tables.relname = 'mlkit_values'"
    )
    assert scans <= 1
    assert read < 20 * len(keys)
