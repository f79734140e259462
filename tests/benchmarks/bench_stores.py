"""How fast stores read and write, beside what their libraries do in the same run with the same server or file.

A read is of one key with a value of 1 KiB. Writes are of 400 bytes to 100,000 keys in one call: over whatever is there
(put), and from the version that is there (CAS). The raw limits: one prepared SELECT and one transaction of sqlite3;
GET, and pipelines of SET, 1000 at a time, of redis-py; libpq's prepared SELECT, and INSERT … ON CONFLICT of psycopg.
SQLite and PostgreSQL, which has its default settings, sync what is committed to the disk.
"""

import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import redis

from mlops_kit.stores.interface import Store, Write
from mlops_kit.stores.resolve import open_store
from tests.benchmarks.verdict import report
from tests.servers.postgres import run_postgres
from tests.servers.valkey import run_valkey

KEYS, READS, ROUNDS = 100_000, 10_000, 3
READ_BYTES, WRITTEN_BYTES = 1024, 400
NAMES = [b"user:%08d" % number for number in range(KEYS)]


@dataclass(frozen=True, slots=True)
class Contest:
    """A store and its raw limit, with the targets: µs of a read, and puts and CAS per second (0: there is none)."""

    name: str
    store: Store
    raw_read: Callable[[], object]
    raw_write: Callable[[Sequence[tuple[bytes, bytes]]], object]
    targets: tuple[float, float, float]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(prefix="mlkit-") as server_folder:
        for contest in (_sqlite, _redis, _postgres):
            with contest(Path(server_folder if contest is _postgres else folder)) as ready:
                _report(ready)


def _report(contest: Contest) -> None:
    randomly = random.Random(0)
    value, pairs = randomly.randbytes(READ_BYTES), [(name, randomly.randbytes(WRITTEN_BYTES)) for name in NAMES]
    store, address = contest.store, [("read", b"key")]
    store.write("read", [Write(b"key", value)])
    store.write("load", [Write(name, data) for name, data in pairs])
    contest.raw_write([(b"key", value)])
    contest.raw_write(pairs)
    reads: list[float] = []
    raw_reads: list[float] = []
    rates: dict[str, list[float]] = {"put": [], "CAS": [], "raw": []}
    for number in range(ROUNDS):
        reads.append(_median_us(lambda: store.read(address)))
        raw_reads.append(_median_us(contest.raw_read))
        ways = {
            "put": lambda: store.write("load", [Write(name, data) for name, data in pairs]),
            "CAS": lambda: store.write("load", [Write(name, data, 2 + 2 * number) for name, data in pairs]),  # noqa: B023
            "raw": lambda: contest.raw_write(pairs),
        }
        for label, way in ways.items():
            started = time.perf_counter()
            way()
            rates[label].append(KEYS / (time.perf_counter() - started))
    ours, raw = statistics.median(reads), statistics.median(raw_reads)
    read_target, *rate_targets = contest.targets
    print(f"{contest.name:<12}read {ours:10.1f} µs p50 {ours / raw:9.2f} × raw limit")
    if read_target:
        report(f"p50 of a read from {contest.name}, µs", ours, "<=", read_target)
    raw_rate = statistics.median(rates["raw"])
    for label, target in zip(("put", "CAS"), rate_targets, strict=True):
        rate = statistics.median(rates[label])
        print(f"{'':<12}{label:<4} {rate:10,.0f} /s   {rate / raw_rate:10.2f} × raw limit")
        if target:
            report(f"{label}/s into {contest.name}", rate, ">=", target)


def _median_us(call: Callable[[], object]) -> float:
    times = []
    for _ in range(READS):
        started = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - started)
    return statistics.median(times) / 1000


@contextmanager
def _sqlite(folder: Path) -> Iterator[Contest]:
    with (
        closing(open_store(f"sqlite:///{folder}/features.db")) as store,
        closing(sqlite3.connect(folder / "raw.db", isolation_level=None)) as raw,
    ):
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("CREATE TABLE raw (key BLOB PRIMARY KEY, data BLOB)")

        def write(pairs: Sequence[tuple[bytes, bytes]]) -> None:
            raw.execute("BEGIN IMMEDIATE")
            raw.executemany("INSERT OR REPLACE INTO raw VALUES (?, ?)", pairs)
            raw.execute("COMMIT")

        def read() -> object:
            return raw.execute("SELECT data FROM raw WHERE key = ?", (b"key",)).fetchone()

        yield Contest("SQLite", store, read, write, (15, 0, 0))


@contextmanager
def _redis(folder: Path) -> Iterator[Contest]:
    with (
        run_valkey(folder) as server,
        closing(open_store(f"redis://127.0.0.1:{server.port}/0")) as store,
        redis.Redis(port=server.port) as raw,
    ):

        def write(pairs: Sequence[tuple[bytes, bytes]]) -> None:
            for first in range(0, len(pairs), 1000):
                pipeline = raw.pipeline(transaction=False)
                for name, data in pairs[first : first + 1000]:
                    pipeline.set(name, data)
                pipeline.execute()

        yield Contest("Redis", store, lambda: raw.get("key"), write, (80, 150_000, 60_000))


@contextmanager
def _postgres(folder: Path) -> Iterator[Contest]:
    with (
        run_postgres(folder, settings=()) as server,
        closing(open_store(server.url())) as store,
        psycopg.connect(server.url(), autocommit=True) as raw,
    ):
        raw.execute("CREATE TABLE raw (key BYTEA PRIMARY KEY, data BYTEA)")
        raw.pgconn.prepare(b"read", b"SELECT data FROM raw WHERE key = $1")
        sql = (
            "INSERT INTO raw SELECT * FROM unnest(%b::bytea[], %b::bytea[]) "
            "ON CONFLICT (key) DO UPDATE SET data = excluded.data"
        )

        def write(pairs: Sequence[tuple[bytes, bytes]]) -> None:
            for first in range(0, len(pairs), 1000):
                part = pairs[first : first + 1000]
                raw.execute(sql, ([name for name, _ in part], [data for _, data in part]))

        def read() -> object:
            return raw.pgconn.exec_prepared(b"read", [b"key"], [1], 1).get_value(0, 0)

        yield Contest("PostgreSQL", store, read, write, (250, 0, 0))


if __name__ == "__main__":
    main()
