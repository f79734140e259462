import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mlops_kit.errors import InputError, StoreError, UsageError
from mlops_kit.tables import sqlite
from mlops_kit.tables.interface import Table
from tests.tables.contract import ROWS, assert_serves, generations, open_at, publish
from tests.tables.generations import make_frame, write_generation
from tests.tables.processes import publish_with_little_room, publisher
from tests.unwritable import only_reading


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def address(path: Path) -> str:
    return f"sqlite:///{path}?table=eta"


@pytest.fixture
def table(address: str) -> Iterator[Table]:
    with closing(open_at(address)) as table:
        yield table


def query(path: Path, sql: str) -> list[Any]:
    """As another program would, which waits for nobody."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def make_file(path: Path, journal_mode: str) -> None:
    """Somebody's file, with a table in it."""
    query(path, f"PRAGMA journal_mode = {journal_mode}")
    query(path, "CREATE TABLE users (name TEXT)")


def objects(path: Path) -> list[str]:
    return [name for (name,) in query(path, "SELECT name FROM sqlite_master ORDER BY name")]


def test_other_programs_read_a_view(table: Table, path: Path, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(12)))
    assert query(path, "SELECT * FROM eta WHERE id IN (0, 1)") == [
        (0, "LGA 0:%'\"\\ é", "2026-11-01", "2026-11-21T08:30:00+00:00", None, None, 0, 0.0, 0.0),
        (
            1,
            "JFK 0:%'\"\\ é",
            "2026-11-02",
            "2026-11-21T08:30:01+00:00",
            0,
            "note 1",
            1,
            0.3333333432674408,
            1 / 7,
        ),
    ]
    assert query(path, "SELECT id FROM eta WHERE prediction IS NULL") == [(10,)]


def test_a_look_up_uses_the_index(table: Table, path: Path, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(ROWS), key=("origin", "day")))
    ((*_, plan),) = query(path, "EXPLAIN QUERY PLAN SELECT * FROM eta WHERE origin = 'a' AND day = '2026-11-01'")
    assert "USING INDEX" in plan


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
def test_others_read_and_write_while_rows_are_loaded(
    table: Table, path: Path, tmp_path: Path, journal_mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "ROWS_PER_TRANSACTION", 1000)
    make_file(path, journal_mode)
    first, second = generations(tmp_path, 2, rows=5000)
    publish(table, first)
    seen: list[Any] = []

    def meanwhile(rows: int) -> None:
        query(path, "INSERT INTO users VALUES ('somebody')")
        seen.extend(query(path, "SELECT prediction FROM eta WHERE id = 7"))

    table.publish(second, 2, meanwhile)
    assert len(seen) >= 5
    assert set(seen) == {(1.0,)}
    assert query(path, "SELECT prediction FROM eta WHERE id = 7") == [(1001.0,)]


def test_a_reader_in_a_transaction_keeps_its_generation(table: Table, path: Path, tmp_path: Path) -> None:
    first, second = generations(tmp_path, 2)
    publish(table, first)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        before = connection.execute("SELECT * FROM eta").fetchall()
        publish(table, second, keep=1)
        assert connection.execute("SELECT * FROM eta").fetchall() == before
    assert_serves(table, second, make_frame(ROWS, 1000))


def test_a_new_file_gets_a_write_ahead_log(table: Table, path: Path, tmp_path: Path) -> None:
    publish(table, write_generation(tmp_path, make_frame(3)))
    assert query(path, "PRAGMA journal_mode") == [("wal",)]


def test_a_file_that_was_there_keeps_its_journal_and_its_tables(table: Table, path: Path, tmp_path: Path) -> None:
    make_file(path, "delete")
    query(path, "INSERT INTO users VALUES ('Ada')")
    publish(table, write_generation(tmp_path, make_frame(3)))
    assert query(path, "PRAGMA journal_mode") == [("delete",)]
    assert query(path, "SELECT * FROM users") == [("Ada",)]


@pytest.mark.parametrize("statement", ["CREATE TABLE eta (a)", "CREATE VIEW Eta AS SELECT 1 AS a"])
def test_what_somebody_else_made_is_not_replaced(table: Table, path: Path, tmp_path: Path, statement: str) -> None:
    query(path, statement)
    with pytest.raises(UsageError, match="mlkit did not make"):
        publish(table, write_generation(tmp_path, make_frame(3)))
    assert query(path, "SELECT sql FROM sqlite_master WHERE name IN ('eta', 'Eta')") == [(statement,)]


def test_looking_makes_no_file(table: Table, path: Path) -> None:
    assert table.current() is None
    with pytest.raises(UsageError):
        table.get(["1"])
    assert not path.exists()


def test_what_a_killed_publisher_left_is_dropped_by_the_next(
    table: Table, address: str, path: Path, tmp_path: Path
) -> None:
    first, second, third = generations(tmp_path, 3)
    publish(table, first)
    with publisher(address, second, tmp_path) as process:
        assert process.stdout
        process.stdout.readline()
    assert f"eta__{second.name}" in objects(path)
    publish(table, third, keep=1)
    relation = f"eta__{third.name}"
    assert objects(path) == ["eta", relation, f"{relation}__key", "mlkit_generations"]


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


def test_a_file_that_somebody_else_is_writing_to_is_said(
    table: Table, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.1)
    make_file(path, "wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked") as raised:
            publish(table, write_generation(tmp_path, make_frame(3)))
    assert "other program" in raised.value.fix
    publish(table, write_generation(tmp_path, make_frame(3)))


def test_a_file_of_another_kind_is_left_alone(table: Table, path: Path, tmp_path: Path) -> None:
    path.write_text("name,score\n" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        publish(table, write_generation(tmp_path, make_frame(3)))
    assert path.read_text() == "name,score\n" * 1000


def test_a_full_disk_leaves_the_generation_before(table: Table, address: str, tmp_path: Path) -> None:
    first, second = write_generation(tmp_path, make_frame(ROWS)), write_generation(tmp_path, make_frame(20_000))
    publish(table, first)
    failure = publish_with_little_room(address, second, tmp_path, file_bytes=500_000)
    assert "StoreError" in failure
    assert_serves(table, first, make_frame(ROWS))
    publish(table, second)
    current = table.current()
    assert current is not None
    assert current.name == second.name


def test_a_registry_of_somebody_else_is_said(table: Table, path: Path) -> None:
    query(path, "CREATE TABLE mlkit_generations (name TEXT)")
    with pytest.raises(UsageError, match="that mlkit did not make"):
        table.current()


def test_who_may_only_read_looks_up_what_is_newest(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        address = f"sqlite:///{name}/app.db?table=eta"
        with closing(open_at(address)) as reader:
            for generation in generations(tmp_path, 2):
                with closing(open_at(address)) as table:
                    publish(table, generation)
                with only_reading(Path(name)):
                    found = reader.get(["7"])
                assert found is not None
                assert found.digest == generation.digest
