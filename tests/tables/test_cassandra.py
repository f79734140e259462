"""What Cassandra tables do beyond the contract: who switches, what is left behind, and who removes it."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import ResultSet, Session

from mlops_kit.errors import InputError, MlkitError, StoreError, UsageError
from mlops_kit.tables.cassandra.rows import CHUNK_ROWS, Rows
from mlops_kit.tables.generation import Generation
from mlops_kit.tables.interface import Table
from tests.servers.cassandra import DURABLE, CassandraServer, run_cassandra
from tests.servers.proxy import run_proxy
from tests.tables.contract import ROWS, generations, open_at, publish, row_of
from tests.tables.generations import make_frame, write_generation
from tests.tables.processes import publisher
from tests.tables.test_contract_values import write_column


@pytest.fixture
def keyspace(cassandra_server: CassandraServer) -> str:
    return cassandra_server.new_keyspace()


@pytest.fixture
def address(cassandra_server: CassandraServer, keyspace: str) -> str:
    return f"{cassandra_server.url(keyspace)}?table=eta"


@pytest.fixture
def table(address: str) -> Iterator[Table]:
    with closing(open_at(address)) as table:
        yield table


@pytest.fixture
def session(cassandra_server: CassandraServer, keyspace: str) -> Iterator[Session]:
    with cassandra_server.session() as session:
        session.set_keyspace(keyspace)
        yield session


def prediction(table: Table, key: str = "7") -> Any:
    return row_of(table, [key]).values["prediction"]


def call_once(work: Callable[[], object]) -> Callable[[int], None]:
    """For `on_rows`: do the work when the first rows are loaded."""
    works = [work]
    return lambda rows: works and works.pop()() and None


def publish_at(address: str, generation: Generation, keep: int = 2) -> None:
    with closing(open_at(address)) as table:
        publish(table, generation, keep)


def names_in(session: Session, table: str) -> list[str]:
    """The generation of each row of the table."""
    return [row.generation for row in session.execute(f"SELECT generation FROM {table}")]


def stored_rows(session: Session) -> dict[str, int]:
    """How many rows of each generation there are; what else the keyspace has is of the same generations."""
    names = names_in(session, "eta")
    assert set(names_in(session, "mlkit_keys")) == set(names_in(session, "mlkit_generations")) == set(names)
    return {name: names.count(name) for name in names}


def end_lease(session: Session, generation: Generation) -> None:
    """As if its publisher had been silent for a minute."""
    cql = "UPDATE mlkit_generations SET lease = null WHERE table_name = 'eta' AND generation = %s IF EXISTS"
    session.execute(cql, (generation.name,))


def test_a_plain_client_needs_two_statements(table: Table, session: Session, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(ROWS)))
    found = session.execute("SELECT current FROM mlkit_generations WHERE table_name = 'eta' LIMIT 1").one()
    row = session.execute("SELECT * FROM eta WHERE generation = %s AND key = '7'", (found.current,)).one()
    assert (row.id, row.prediction) == (7, 1.0)


def test_generation_and_key_are_the_partition_key(table: Table, session: Session, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(1)))
    cql = "SELECT column_name, kind FROM system_schema.columns WHERE keyspace_name = %s AND table_name = 'eta'"
    kinds = {row.column_name: row.kind for row in session.execute(cql, (session.keyspace,))}
    assert [name for name, kind in kinds.items() if kind == "partition_key"] == ["generation", "key"]
    assert "clustering" not in kinds.values()


def test_switches_at_the_same_time_come_one_after_the_other(
    address: str, session: Session, tmp_path: Path
) -> None:
    """Each one counts on from the one before, which unconditional writes would not achieve."""
    publish_at(address, write_generation(tmp_path, make_frame(1)))
    start = threading.Barrier(6)

    def work(generation: Generation) -> None:
        with closing(open_at(address)) as table:
            table.publish(generation, 9, call_once(start.wait))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, generations(tmp_path, 6, rows=3)))
    found = list(session.execute("SELECT current, version, generation, publication FROM mlkit_generations"))
    assert sorted(row.publication for row in found) == [1, 2, 3, 4, 5, 6, 7]
    assert {row.version for row in found} == {7}
    assert [row.generation for row in found if row.publication == 7] == [found[0].current]


def test_the_publisher_that_switches_last_is_served(table: Table, address: str, tmp_path: Path) -> None:
    late, early = generations(tmp_path, 2)
    table.publish(late, 2, call_once(lambda: publish_at(address, early)))
    assert prediction(table) == 1.0
    assert table.rollback().name == early.name


def test_what_another_process_is_loading_is_left_alone(
    table: Table, address: str, session: Session, tmp_path: Path
) -> None:
    late, early = generations(tmp_path, 2, rows=2 * CHUNK_ROWS)
    table.publish(late, 1, call_once(lambda: publish_at(address, early, keep=1)))
    assert stored_rows(session) == {late.name: 2 * CHUNK_ROWS}


def test_what_a_killed_publisher_left_is_removed_by_the_next_publication(
    table: Table, address: str, session: Session, tmp_path: Path
) -> None:
    first, lost, third = generations(tmp_path, 3, rows=2 * CHUNK_ROWS)
    publish(table, first)
    with publisher(address, lost, tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline() == "loaded\n"
        process.kill()
    assert lost.name in names_in(session, "mlkit_generations")
    assert prediction(table) == 1.0
    end_lease(session, lost)
    publish(table, third)
    assert stored_rows(session) == {first.name: 2 * CHUNK_ROWS, third.name: 2 * CHUNK_ROWS}
    assert prediction(table) == 2001.0


def test_a_publisher_that_was_thought_dead_does_not_publish(
    table: Table, address: str, session: Session, tmp_path: Path
) -> None:
    late, other = generations(tmp_path, 2, rows=2 * CHUNK_ROWS)

    def lose() -> None:
        end_lease(session, late)
        publish_at(address, other)

    with pytest.raises(StoreError, match=r"this one had died.*run again"):
        table.publish(late, 2, call_once(lose))
    assert prediction(table) == 1001.0
    publish(table, late)
    assert prediction(table) == 1.0
    assert stored_rows(session) == {late.name: 2 * CHUNK_ROWS, other.name: 2 * CHUNK_ROWS}


def test_a_lease_is_renewed_while_rows_are_loaded(
    table: Table, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = write_generation(tmp_path, make_frame(3 * CHUNK_ROWS), parts=1)
    # Between two readings of the clock there is half a minute.
    monkeypatch.setattr("mlops_kit.tables.cassandra.table.time.monotonic", count(0, 30).__next__)
    left: list[int | None] = []

    def watch(rows: int) -> None:
        left.append(session.execute("SELECT TTL(lease) AS left FROM mlkit_generations").one().left)
        end_lease(session, generation)

    table.publish(generation, 2, watch)
    assert all(left)
    assert len(left) == 3


def test_generations_beyond_those_to_keep_are_deleted(table: Table, session: Session, tmp_path: Path) -> None:
    made = generations(tmp_path, 4, rows=CHUNK_ROWS + 1)
    for generation in made:
        publish(table, generation, keep=2)
    assert stored_rows(session) == {generation.name: CHUNK_ROWS + 1 for generation in made[2:]}


def test_what_was_rolled_back_is_deleted_by_the_next_publication(
    table: Table, session: Session, tmp_path: Path
) -> None:
    first, second, third = generations(tmp_path, 3)
    publish(table, first)
    publish(table, second)
    table.rollback()
    assert prediction(table) == 1.0
    publish(table, third)
    assert stored_rows(session) == {first.name: ROWS, third.name: ROWS}


def test_a_deletion_that_was_stopped_is_finished_by_the_next_publication(
    table: Table, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = generations(tmp_path, 2, rows=5 * CHUNK_ROWS)
    publish(table, first)
    real, deletions = Rows._run, iter(range(2))

    def stop_at_the_third(self: Rows, cql: str, values: Any) -> ResultSet:
        if cql.startswith("DELETE") and next(deletions, None) is None:
            raise OperationTimedOut
        return real(self, cql, values)

    monkeypatch.setattr(Rows, "_run", stop_at_the_third)
    with pytest.raises(StoreError, match=r"no answer.*run again"):
        publish(table, second, keep=1)
    monkeypatch.undo()
    assert 0 < stored_rows(session)[first.name] < 5 * CHUNK_ROWS
    publish(table, second, keep=1)
    assert stored_rows(session) == {second.name: 5 * CHUNK_ROWS}


def test_a_get_while_generations_come_and_go_never_misses(address: str, tmp_path: Path) -> None:
    made = generations(tmp_path, 5)
    missed: list[str] = []
    done = threading.Event()

    def read() -> None:
        with closing(open_at(address)) as table:
            while not done.is_set():
                missed.extend(str(i) for i in range(ROWS) if table.get([str(i)]) is None)

    with closing(open_at(address)) as table:
        publish(table, made[0])
        reading = threading.Thread(target=read)
        reading.start()
        for i in range(20):
            publish(table, made[i % 5], keep=1 + i % 2)
            if i % 4 == 3:
                table.rollback()
        done.set()
        reading.join()
    assert missed == []


def test_a_server_killed_while_loading_serves_the_old_generation_when_it_is_back(tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2, rows=3 * CHUNK_ROWS)
    with run_cassandra(tmp_path / "node", DURABLE) as server:
        address = f"{server.url(server.new_keyspace())}?table=eta"
        with closing(open_at(address)) as table:
            publish(table, first)
            with pytest.raises(StoreError, match=r"no connection.*run again"):
                table.publish(second, 2, call_once(server.kill))
        server.start()
        with closing(open_at(address)) as table:
            assert prediction(table) == 1.0
            publish(table, second)
            assert prediction(table, str(3 * CHUNK_ROWS - 1)) == 1000 + (3 * CHUNK_ROWS - 1) / 7


def test_wherever_the_connection_breaks_readers_keep_a_whole_generation(
    cassandra_server: CassandraServer,
    address: str,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bytes are let through until, with the last break, the whole publication gets by."""
    allowed, breaks, served = 0, 0, set()
    with run_proxy(cassandra_server.port) as proxy, closing(open_at(address)) as direct:
        distant = address.replace(str(cassandra_server.port), str(proxy.port))
        # A connection that ends within an answer is noticed by the driver when the answer is overdue.
        monkeypatch.setattr("mlops_kit.tables.cassandra.connection.REQUEST_LIMIT_S", 2.0)
        publish(direct, write_generation(tmp_path, make_frame(ROWS)))
        while True:
            before, generation = direct.current(), write_generation(tmp_path, make_frame(ROWS))
            proxy.bytes_left = None
            with closing(open_at(distant)) as table:
                proxy.bytes_left = allowed
                try:
                    publish(table, generation)
                    break
                except StoreError:
                    breaks += 1
            current = direct.current()
            assert current is not None
            served.add(current == before)
            assert names_in(session, "eta").count(current.name) == ROWS
            publish(direct, generation)
            allowed += 3000
    assert breaks > 5
    assert True in served


def test_a_table_of_somebody_else_is_refused(table: Table, session: Session, tmp_path: Path) -> None:
    session.execute("CREATE TABLE eta (generation text, key text, PRIMARY KEY (generation, key))")
    with pytest.raises(UsageError, match=r"'eta'.*mlkit did not make"):
        publish(table, write_generation(tmp_path, make_frame(1)))


@pytest.mark.parametrize("name", ["generation", "key"])
def test_a_column_that_every_table_has_is_refused(table: Table, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}'.*another name"):
        publish(table, write_generation(tmp_path, make_frame(1).rename({"note": name})))


def test_a_column_that_was_null_in_every_row_may_get_any_type(table: Table, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(1).with_columns(extra=pl.lit(None))))
    publish(table, write_generation(tmp_path, make_frame(1).with_columns(extra=pl.lit(1.5))))
    assert row_of(table, ["0"]).values["extra"] == 1.5


def test_a_whole_decimal_is_text_and_a_large_number_is_a_number(table: Table, tmp_path: Path) -> None:
    publish(table, write_column(tmp_path, pa.decimal128(20, 0), Decimal(150)))
    assert row_of(table, ["1"]).values["odd"] == "150"
    publish(
        table,
        write_generation(tmp_path, pl.DataFrame({"id": [1], "large": pl.Series([2**64 - 1], dtype=pl.UInt64)})),
    )
    assert row_of(table, ["1"]).values["large"] == 2**64 - 1


REFUSED_VALUES = {
    "far date": (pa.date32(), 2**30, "years 1 to 9999"),
    "far time": (pa.timestamp("us"), 2**62, "years 1 to 9999"),
    "far date in a list": (pa.list_(pa.date32()), [2**30], "years 1 to 9999"),
    "null in a list": (pa.list_(pa.int32()), [1, None], "missing value"),
    "nanoseconds": (pa.timestamp("ns"), 1, "does not fit"),
    "a large text": (pa.string(), "secret " * 1_000_000, "larger than the cluster takes"),
}


@pytest.mark.parametrize(("dtype", "value", "said"), REFUSED_VALUES.values(), ids=REFUSED_VALUES)
def test_a_value_that_cannot_be_stored_is_explained_without_it(
    table: Table, tmp_path: Path, dtype: pa.DataType, value: Any, said: str
) -> None:
    with pytest.raises(MlkitError, match=said) as raised:
        publish(table, write_column(tmp_path, dtype, value))
    assert "secret" not in str(raised.value)
    assert table.current() is None


def test_a_key_that_is_too_long_is_refused_and_never_found(table: Table, tmp_path: Path) -> None:
    frame = make_frame(2).with_columns(note=pl.lit("secret " * 10_000) + pl.col("id").cast(pl.String))
    with pytest.raises(InputError, match="'note'") as raised:
        publish(table, write_generation(tmp_path, frame, key=("note",)))
    assert "secret" not in str(raised.value)
    publish(table, write_generation(tmp_path, make_frame(2)))
    assert table.get(["secret " * 10_000]) is None


def test_times_of_any_zone_are_stored_as_utc(table: Table, tmp_path: Path) -> None:
    publish(table, write_column(tmp_path, pa.timestamp("ms", "+05:30"), datetime(2026, 11, 21, 8, 30)))
    assert row_of(table, ["1"]).values["odd"] == "2026-11-21T08:30:00+00:00"
