import os
import resource
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.stores.interface import Store, Value, Write
from mlops_kit.stores.resolve import open_store
from tests.stores.contract import value_of
from tests.stores.processes import COUNTERS, process
from tests.unwritable import only_reading


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "features.db"


@pytest.fixture
def address(path: Path) -> str:
    return f"sqlite:///{path}"


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def test_a_file_is_made_by_the_first_write_only(store: Store, path: Path) -> None:
    assert value_of(store, b"k") is None
    store.drop("a")
    assert not path.exists()
    store.write("a", [])
    assert path.exists()


def test_a_file_keeps_what_is_committed_through_a_power_cut(store: Store, path: Path) -> None:
    store.write("a", [Write(b"k", b"1")])
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    with store._connections.taken() as connection:  # type: ignore[attr-defined]
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_new_file_is_for_whom_the_user_has_chosen(store: Store, path: Path) -> None:
    before = os.umask(0o027)
    try:
        store.write("a", [Write(b"k", b"1")])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_an_empty_file_becomes_a_store(store: Store, path: Path) -> None:
    path.touch()
    assert value_of(store, b"k") is None
    store.write("a", [Write(b"k", b"1")])
    assert value_of(store, b"k") == Value(1, b"1")


def make_text(path: Path) -> None:
    path.write_text("name,score\n" * 100)


def make_short_text(path: Path) -> None:
    path.write_text("name\n")


def make_database(path: Path) -> None:
    query(path, "CREATE TABLE users (name TEXT)")


def make_database_with_a_version(path: Path) -> None:
    query(path, "PRAGMA user_version = 1")


def make_database_that_crashed(path: Path) -> None:
    """Its log has what the file lacks; whoever opens it would take that over."""
    program = f"import os, sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('PRAGMA journal_mode = WAL'); "
    program += "c.execute('CREATE TABLE users (name TEXT)'); c.commit(); os._exit(0)"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert path.with_name(f"{path.name}-wal").stat().st_size


@pytest.mark.parametrize(
    "make", [make_text, make_short_text, make_database, make_database_with_a_version, make_database_that_crashed]
)
def test_a_file_of_something_else_is_refused_and_not_touched(path: Path, address: str, make) -> None:  # type: ignore[no-untyped-def]
    make(path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(UsageError, match="choose another file"):
        open_store(address)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_file_that_becomes_something_else_is_refused_when_it_is_used(store: Store, path: Path) -> None:
    make_database(path)
    for use in (lambda: value_of(store, b"k"), lambda: store.write("a", [])):
        with pytest.raises(UsageError, match="choose another file"):
            use()
    assert query(path, "SELECT name FROM sqlite_master") == [("users",)]


def test_a_layout_of_another_version_is_refused(store: Store, path: Path, address: str) -> None:
    store.write("a", [Write(b"k", b"1")])
    store.close()
    query(path, "PRAGMA user_version = 2")
    with pytest.raises(UsageError, match="layout 2, and it knows 1"):
        open_store(address)


def test_a_file_that_somebody_makes_at_this_moment_is_waited_for(store: Store, path: Path, address: str) -> None:
    store.write("a", [Write(b"k", b"1")])
    store.close()
    query(path, "PRAGMA journal_mode = DELETE")
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Timer(0.2, other.execute, ["COMMIT"])
        waiting.start()
        assert store.write("a", [Write(b"k", b"2", 1)]) == [True]
        waiting.join()
    assert query(path, "PRAGMA journal_mode") == [("wal",)]


def test_a_second_store_in_a_process_takes_no_locks_from_the_first(store: Store, path: Path, address: str) -> None:
    """Without them, another process takes itself for the last one, and removes the log in its end."""
    store.write("a", [Write(b"k", b"1")])
    with closing(open_store(address)) as second:
        assert value_of(second, b"k") == Value(1, b"1")
        with process("count_up", address, "1") as other:
            assert other.wait(60) == 0
        assert path.with_name(f"{path.name}-wal").exists()
        assert store.write("a", [Write(b"k", b"2", 1)]) == [True]
    assert value_of(store, COUNTERS[0]) == Value(1, b"1")


def test_others_read_and_do_not_wait_while_somebody_writes(store: Store, path: Path, address: str) -> None:
    store.write("a", [Write(b"k", b"1")])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert value_of(store, b"k") == Value(1, b"1")
        with closing(open_store(f"{address}?timeout_s=0.1")) as hasty:
            with pytest.raises(StoreError, match=r"locked.*timeout_s"):
                hasty.write("a", [Write(b"k", b"2")])
            other.execute("COMMIT")
            assert hasty.write("a", [Write(b"k", b"2")]) == [True]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process can grow beyond a size; writing fails as it does on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_what_was_there(store: Store) -> None:
    store.write("a", [Write(b"k", b"1")])
    with room_for(300_000), pytest.raises(StoreError, match="make room"):
        store.write("a", [Write(b"k", b"2"), Write(b"large", bytes(2_000_000))])
    assert store.read([("a", b"k"), ("a", b"large")]) == [Value(1, b"1"), None]
    assert store.write("a", [Write(b"k", b"2", 1), Write(b"large", bytes(2_000_000))]) == [True, True]


def test_who_may_only_read_reads_what_is_newest_and_is_told_so() -> None:
    with tempfile.TemporaryDirectory() as name:
        address = f"sqlite:///{name}/features.db"
        with closing(open_store(address)) as reader:
            for version in (1, 2):
                with closing(open_store(address)) as writer:
                    writer.write("a", [Write(b"k", b"%d" % version)])
                with only_reading(Path(name)):
                    assert value_of(reader, b"k") == Value(version, b"%d" % version)
                    assert [key for key, _ in reader.scan("a")] == [b"k"]
                    with pytest.raises(StoreError, match=r"readonly.*let this user write"):
                        reader.write("a", [Write(b"k", b"")])
                    assert value_of(reader, b"k") == Value(version, b"%d" % version)


def test_who_may_only_read_sees_what_a_living_writer_writes() -> None:
    with tempfile.TemporaryDirectory() as name:
        address = f"sqlite:///{name}/features.db"
        with closing(open_store(address)) as writer, closing(open_store(address)) as reader:
            for version in (1, 2):
                writer.write("a", [Write(b"k", b"%d" % version)])
                with only_reading(Path(name)):
                    assert value_of(reader, b"k") == Value(version, b"%d" % version)


def test_who_may_not_even_read_is_told_so(address: str, path: Path) -> None:
    with closing(open_store(address)) as store:
        store.write("a", [Write(b"k", b"1")])
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match="unable to open"):
        open_store(address)


def test_what_a_killed_drop_has_left_is_removed_by_the_next(store: Store, path: Path) -> None:
    store.write("a", [Write(b"%d" % number, b"") for number in range(2500)])
    query(path, "UPDATE spaces SET name = NULL")
    assert store.spaces() == []
    assert value_of(store, b"1") is None
    store.write("a", [Write(b"k", b"1")])
    store.drop("b")
    assert query(path, "SELECT count(*) FROM kept") == [(1,)]
    assert value_of(store, b"k") == Value(1, b"1")
    assert query(path, "SELECT count(*) FROM spaces") == [(1,)]


def test_a_store_that_was_closed_leaves_one_file(store: Store, path: Path) -> None:
    store.write("a", [Write(b"k", b"1")])
    store.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
