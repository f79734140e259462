import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb as client
import polars as pl
import pytest

from mlops_kit.errors import InputError, StoreError, UsageError
from mlops_kit.tables import duckdb
from mlops_kit.tables.interface import Table
from tests.tables.contract import ROWS, assert_serves, generations, open_at, publish
from tests.tables.generations import make_frame, write_generation
from tests.tables.processes import publish_with_little_room, publisher


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.duckdb"


@pytest.fixture
def address(path: Path) -> str:
    return f"duckdb:///{path}?table=eta"


@pytest.fixture
def table(address: str) -> Iterator[Table]:
    with closing(open_at(address)) as table:
        yield table


def query(path: Path, sql: str) -> list[Any]:
    with client.connect(path) as connection:
        return connection.execute(sql).fetchall()


def test_a_file_of_another_kind_is_no_database(table: Table, path: Path) -> None:
    path.with_name("rows.csv").write_text("a\n1\n")
    with pytest.raises(StoreError, match="it is no DuckDB database"):
        open_at(f"duckdb:///{path.with_name('rows.csv')}?table=eta").current()


def test_a_schema_cannot_be_chosen(path: Path) -> None:
    with pytest.raises(UsageError, match="write the name alone: eta"):
        open_at(f"duckdb:///{path}?table=main.eta")


def test_a_registry_of_somebody_else_is_said(table: Table, path: Path) -> None:
    query(path, "CREATE TABLE mlkit_generations (name TEXT)")
    with pytest.raises(UsageError, match="that mlkit did not make"):
        table.current()


@contextmanager
def held_by_another_process(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """The process lets go of the file when it is written to."""
    program = (
        f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('held', flush=True); sys.stdin.readline()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_other_programs_read_a_view(table: Table, path: Path, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(12)))
    assert query(path, "SELECT id, origin, small, single, prediction FROM eta WHERE id = 1") == [
        (1, "JFK 0:%'\"\\ é", 1, 0.3333333432674408, 1 / 7)
    ]
    assert query(path, "SELECT id FROM eta WHERE isnan(prediction)") == [(10,)]


def test_a_column_keeps_its_type(table: Table, path: Path, tmp_path: Path) -> None:
    frame = make_frame(3).with_columns(large=pl.col("id").cast(pl.UInt64))
    publish(table, write_generation(tmp_path, frame))
    types = query(path, "SELECT column_name, column_type FROM (DESCRIBE eta)")
    assert dict(types) == {
        "id": "BIGINT", "origin": "VARCHAR", "day": "DATE", "at": "TIMESTAMP WITH TIME ZONE", "is_late": "BOOLEAN",
        "note": "VARCHAR", "small": "TINYINT", "single": "FLOAT", "prediction": "DOUBLE", "large": "UBIGINT",
    }  # fmt: skip


def test_rows_keep_their_order(table: Table, path: Path, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(50_000)))
    assert query(path, "SELECT id FROM eta") == [(i,) for i in range(50_000)]


def test_there_is_an_index_on_the_key(table: Table, path: Path, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(ROWS), key=("id", "origin")))
    assert query(path, "SELECT is_unique, expressions FROM duckdb_indexes()") == [(True, "[id, origin]")]


@pytest.mark.parametrize("statement", ["CREATE TABLE eta (a INTEGER)", "CREATE VIEW Eta AS SELECT 1 AS a"])
def test_what_somebody_else_made_is_not_replaced(table: Table, path: Path, tmp_path: Path, statement: str) -> None:
    query(path, statement)
    with pytest.raises(UsageError, match="mlkit did not make"):
        publish(table, write_generation(tmp_path, make_frame(3)))
    assert query(path, "SELECT * FROM (DESCRIBE eta)") == [("a", "INTEGER", "YES", None, None, None)]


def test_looking_makes_no_file(table: Table, path: Path) -> None:
    assert table.current() is None
    with pytest.raises(UsageError):
        table.get(["1"])
    assert not path.exists()


def test_what_a_killed_publisher_left_is_gone(table: Table, address: str, path: Path, tmp_path: Path) -> None:
    first, second, third = generations(tmp_path, 3)
    publish(table, first)
    with publisher(address, second, tmp_path) as process:
        assert process.stdout
        process.stdout.readline()
    publish(table, third, keep=1)
    assert query(path, "SELECT table_name FROM duckdb_tables() ORDER BY 1") == [
        (f"eta__{third.name}",),
        ("mlkit_generations",),
    ]


def test_columns_that_differ_in_case_only_are_named(table: Table, path: Path, tmp_path: Path) -> None:
    frame = make_frame(3).with_columns(Note=pl.lit(1))
    with pytest.raises(UsageError, match="'note' and 'Note'"):
        publish(table, write_generation(tmp_path, frame))
    assert not path.exists()


def test_a_key_that_occurs_twice_is_refused_without_its_value(table: Table, tmp_path: Path) -> None:
    first = write_generation(tmp_path, make_frame(ROWS))
    publish(table, first)
    with pytest.raises(InputError, match="same key") as raised:
        publish(table, write_generation(tmp_path, make_frame(ROWS).with_columns(id=pl.lit(4711))))
    assert "4711" not in str(raised.value)
    assert_serves(table, first, make_frame(ROWS))


def test_a_file_that_another_process_holds_is_said(
    table: Table, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = write_generation(tmp_path, make_frame(ROWS))
    publish(table, generation)
    monkeypatch.setattr(duckdb, "PATIENCE_S", 0.1)
    with held_by_another_process(path):
        for call in (table.current, table.rollback, lambda: table.get(["1"]), lambda: publish(table, generation)):
            with pytest.raises(StoreError, match="lock") as raised:
                call()
            assert "close the file" in raised.value.fix
    assert_serves(table, generation, make_frame(ROWS))


def test_a_publisher_waits_for_the_file(table: Table, path: Path, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    with held_by_another_process(path) as process, ThreadPoolExecutor(1) as thread:
        publishing = thread.submit(publish, table, second)
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
        publishing.result()
    assert_serves(table, second, make_frame(ROWS, 1000))


def test_a_file_of_another_kind_is_left_alone(table: Table, path: Path, tmp_path: Path) -> None:
    path.write_text("name,score\n" * 1000)
    with pytest.raises(StoreError, match="not a valid DuckDB"):
        publish(table, write_generation(tmp_path, make_frame(3)))
    assert path.read_text() == "name,score\n" * 1000


def test_a_full_disk_leaves_the_generation_before(table: Table, address: str, tmp_path: Path) -> None:
    first, second = write_generation(tmp_path, make_frame(ROWS)), write_generation(tmp_path, make_frame(200_000))
    publish(table, first)
    failure = publish_with_little_room(address, second, tmp_path, file_bytes=3_000_000)
    assert "StoreError" in failure
    assert_serves(table, first, make_frame(ROWS))
    publish(table, second)
    current = table.current()
    assert current is not None
    assert current.name == second.name
