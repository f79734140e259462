"""What people see of the command when a disk is full, a server goes away, or two runs meet; and what a rerun does."""

import json
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
from adbc_driver_postgresql import dbapi

import mlops_kit
from mlops_kit.modes.batch.job import BatchJob
from tests.bundles import WEIGHTS, linear_graph, write_bundle
from tests.cli.mlkit import COMMAND, mlkit
from tests.modes.batch.outputs import OUTPUTS, snapshot
from tests.modes.batch.processes import finish, started
from tests.modes.batch.rows import make_rows
from tests.servers.postgres import PASSWORD, PostgresServer
from tests.servers.proxy import run_proxy
from tests.servers.valkey import ValkeyServer, run_valkey
from tests.tables.backends import BACKENDS

SIZES = (1000, 1000, 1000, 20_000)
"""Rows of the files: several are finished before the large one is."""


@dataclass(frozen=True, slots=True)
class Bed:
    """Two bundles, the files of rows for them, and a folder for everything else."""

    bundles: tuple[Path, Path]
    source: str
    work: Path

    def words(self, bundle: int, out: str) -> list[str]:
        place = out.replace(f":{quote(PASSWORD, safe='')}@", "@")
        words = ("batch-predict", self.bundles[bundle], self.source, "--out", place, "--key", "id", "--json")
        return [*map(str, words), "--work", str(self.work / "work")]

    def job(self, bundle: int, out: str, work: str = "work") -> BatchJob:
        return BatchJob(self.bundles[bundle], self.source, out, key=("id",), work=self.work / work)

    def publish(self, bundle: int, out: str) -> None:
        finish(self.job(bundle, out), self.work / "log")

    def run(self, bundle: int, out: str) -> dict[str, Any]:
        """Run the command to the end, and return the report."""
        done = mlkit(*self.words(bundle, out))
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def start(self, bundle: int, out: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        return subprocess.Popen([*COMMAND, *self.words(bundle, out)], stdout=pipe, stderr=pipe, text=True)

    def assert_served(self, bundle: int, out: str) -> None:
        """An application reads all rows as this bundle predicts them."""
        rows = pl.read_parquet(self.source)
        predictions = mlops_kit.load(self.bundles[bundle]).predict(rows)["prediction"]
        scheme = out.partition("://")[0] if "://" in out else "folder"
        with OUTPUTS[scheme].reading(out, rows["id"].to_list()) as read:
            is_whole = read() == snapshot(rows["id"].to_list(), predictions)
        assert is_whole


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return write_bundle(folder / "b0"), write_bundle(folder / "b1", linear_graph(WEIGHTS * 2), name="b1")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    for file, rows in enumerate(SIZES):
        ids = pl.Series([f"{file}-{i:05}" for i in range(rows)])
        make_rows(rows, seed=file).with_columns(id=ids).write_parquet(folder / f"{file}.parquet")
    return folder


@pytest.fixture
def bed(bundles: tuple[Path, Path], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return Bed(bundles, f"{source}/*.parquet", tmp_path)


def assert_failed(
    done: "subprocess.CompletedProcess[str] | subprocess.Popen[str]", error: str, *said: str
) -> None:
    """It says what happened, why, and what to do next, each in its line, and no more."""
    assert done.returncode == 2, error
    assert re.fullmatch(r"error: .+\n(  why: .+\n)?  try: .+\n", error), error
    for words in said:
        assert words in error


def run_with_little_room(words: list[str], file_bytes: int) -> "subprocess.CompletedProcess[str]":
    """Where no file can grow beyond a size."""
    limit = (file_bytes, file_bytes)
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip


@pytest.mark.parametrize(("scheme", "file_bytes", "finished"), [("folder", 60_000, 3), ("sqlite", 400_000, 4)])
def test_a_full_disk_is_said_and_a_rerun_goes_on(
    bed: Bed, request: pytest.FixtureRequest, scheme: str, file_bytes: int, finished: int
) -> None:
    with BACKENDS[scheme].place(request, bed.work) as out:
        bed.publish(0, out)
        done = run_with_little_room(bed.words(1, out), file_bytes)
        assert_failed(done, done.stderr, "predictions", "make room")
        bed.assert_served(0, out)
        assert unfinished_files(bed.work) == []
        assert bed.run(1, out)["units_skipped"] == finished
        bed.assert_served(1, out)


def unfinished_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".parquet.tmp")]


def can_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@contextmanager
def small_disk(place: Path) -> Iterator[Callable[[int], None]]:
    """Mounted there; the function changes its size, in KiB, which is large at first."""

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}k", place], check=True)

    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", place], check=True)
    try:
        yield resize
    finally:
        subprocess.run(["umount", place], check=True)


# Not skipped elsewhere, because nothing may be skipped where everything can be had, and containers can seldom mount.
if can_mount():

    def test_wherever_the_disk_gets_full_it_is_said_and_the_next_run_goes_on(bed: Bed) -> None:
        bed = replace(bed, source=bed.source.replace("*", "[012]"))
        place, log = bed.work / "disk", bed.work / "log"
        out = f"{place}/out"
        with small_disk(place) as resize:
            bed.publish(0, out)
            for room in range(0, 200, 4):
                resize(shutil.disk_usage(place).used // 1024 + room)
                log.unlink(missing_ok=True)
                with started(bed.job(1, out), log) as run:
                    run.join()
                if run.exitcode == 0:
                    break
                message = r"StoreError: .*/disk/out.* be written\. No space left on device\. make room"
                assert re.search(message, log.read_text().splitlines()[-1])
                assert unfinished_files(place) == []
                bed.assert_served(0, out)
            assert room > 8
            bed.assert_served(1, out)


@pytest.fixture
def redis_server(valkey_server: ValkeyServer) -> ValkeyServer:
    """With nothing in it."""
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server


def test_a_lost_connection_to_redis_is_said_and_a_rerun_goes_on(bed: Bed, redis_server: ValkeyServer) -> None:
    with run_proxy(redis_server.port) as proxy:
        out = f"redis://127.0.0.1:{proxy.port}/0?table=eta"
        bed.publish(0, out)
        proxy.bytes_left = 500_000
        done = mlkit(*bed.words(1, out))
        assert_failed(done, done.stderr, "no connection", "went away", "run again")
        bed.assert_served(0, redis_server.url())
        proxy.bytes_left = None
        report = bed.run(1, out)
    assert report["units_skipped"] == report["units"] == len(SIZES)
    bed.assert_served(1, redis_server.url())


@pytest.mark.parametrize("is_saved", [True, False], ids=["saved", "not saved"])
def test_a_redis_server_that_dies_is_said_and_a_rerun_goes_on(bed: Bed, is_saved: bool) -> None:
    with run_valkey(bed.work, "--appendonly", "yes" if is_saved else "no") as server:
        out = server.url()
        bed.publish(0, out)
        with server.client() as client, bed.start(1, out) as run:
            before = client.dbsize()
            while client.dbsize() < before + 1000:
                assert run.poll() is None
            server.kill()
            _, error = run.communicate()
        assert_failed(run, error, "no connection", "went away", "run again")
        server.start()
        if is_saved:
            bed.assert_served(0, out)
        report = bed.run(1, out)
        assert report["units_skipped"] == report["units"] == len(SIZES)
        bed.assert_served(1, out)


@contextmanager
def waiting_before_the_index(server: PostgresServer, database: str) -> Iterator[None]:
    """Whoever makes an index there, as runs do when the rows are loaded, waits until the end."""
    server.query(
        "CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock(1); END'",
        database,
    )
    server.query(
        "CREATE EVENT TRIGGER wait ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION wait()",
        database,
    )
    with closing(dbapi.connect(server.url(database))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1)::text")
        yield


def test_a_lost_connection_to_postgresql_is_said_and_a_rerun_goes_on(
    bed: Bed, postgres_server: PostgresServer
) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with postgres_server.new_database() as database:
        out = f"{postgres_server.url(database)}?table=eta"
        bed.publish(0, out)
        with waiting_before_the_index(postgres_server, database), bed.start(1, out) as run:
            while not postgres_server.query(kill, database):
                assert run.poll() is None
            _, error = run.communicate()
        assert_failed(run, error, "PostgreSQL failed", "administrator", "run again")
        bed.assert_served(0, out)
        report = bed.run(1, out)
        assert report["units_skipped"] == report["units"] == len(SIZES)
        bed.assert_served(1, out)


@pytest.mark.parametrize("scheme", ["folder", "postgresql"])
def test_a_second_run_is_refused_while_the_first_one_works(
    bed: Bed, request: pytest.FixtureRequest, scheme: str
) -> None:
    with BACKENDS[scheme].place(request, bed.work) as out, bed.start(0, out) as first:
        while not any(lock.read_text() == str(first.pid) for lock in bed.work.rglob(".mlkit/lock")):
            assert first.poll() is None
        first.send_signal(signal.SIGSTOP)
        second = mlkit(*bed.words(1, out))
        first.send_signal(signal.SIGCONT)
        assert_failed(second, second.stderr, f"another run is writing there (process {first.pid})", "wait")
        _, error = first.communicate()
        assert first.returncode == 0, error
        bed.assert_served(0, out)


@pytest.mark.parametrize("scheme", ["sqlite", "postgresql", "redis"])
def test_two_runs_that_know_nothing_of_each_other_publish_whole_generations(
    bed: Bed, request: pytest.FixtureRequest, scheme: str
) -> None:
    with BACKENDS[scheme].place(request, bed.work) as out:
        log = bed.work / "log"
        with started(bed.job(0, out, "a"), log) as first, started(bed.job(1, out, "b"), log) as second:
            for run in (first, second):
                run.join()
        assert [first.exitcode, second.exitcode] == [0, 0], log.read_text()
        with closing(mlops_kit.lookup(out)) as table:
            current = table.current()
        assert current is not None
        digests = [mlops_kit.load(bundle).bundle.digest for bundle in bed.bundles]  # type: ignore[union-attr]
        bed.assert_served(digests.index(current.digest), out)
