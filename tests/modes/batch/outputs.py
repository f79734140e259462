"""Every kind of output that killed runs are tested with: how applications read it, and what belongs there.

A new backend adds its entry to `OUTPUTS`, under the scheme that it has in `tests.tables.backends`.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import redis
from adbc_driver_postgresql import dbapi
from cassandra.cluster import Cluster, Session
from cassandra.concurrent import execute_concurrent_with_args

ALL_ROWS = "SELECT id, prediction FROM eta ORDER BY id"

Snapshot = tuple[list[str], bytes]
"""The ids of all rows, sorted, and their predictions as float32."""


@dataclass(frozen=True, slots=True)
class Output:
    """`reading` an address gives a function that reads everything that is there, as an application does, which knows
    the ids of the rows from elsewhere. `leftovers` names what is there and does not belong to the generations that are kept, given from old to new.
    """

    reading: Callable[[str, Sequence[str]], AbstractContextManager[Callable[[], Snapshot]]]
    leftovers: Callable[[str, Sequence[str]], list[str]]
    options: str = ""
    rounds: int = 30
    rows_per_file: int = 1000


def snapshot(ids: Sequence[str], predictions: Sequence[float]) -> Snapshot:
    return list(ids), np.asarray(predictions, dtype=np.float32).tobytes()


@contextmanager
def reading_folder(address: str, ids: Sequence[str]) -> Iterator[Callable[[], Snapshot]]:
    """It follows the link once, and reads what is behind it."""

    def read() -> Snapshot:
        current = (Path(address) / "current").resolve(strict=True)
        frame = pl.concat([pl.read_parquet(part) for part in sorted(current.glob("*.parquet"))])
        return snapshot(frame["id"].to_list(), frame["prediction"].to_list())

    yield read


def folder_leftovers(address: str, kept: Sequence[str]) -> list[str]:
    root = Path(address)
    named = [*root.glob("generations/*"), *root.glob(".mlkit/manifests/*"), *root.glob(".current.*")]
    return [str(path) for path in named if path.stem not in kept]


@contextmanager
def reading_sqlite(address: str, ids: Sequence[str]) -> Iterator[Callable[[], Snapshot]]:
    with closing(sqlite3.connect(urlsplit(address).path[1:], isolation_level=None)) as connection:
        yield lambda: snapshot(*zip(*connection.execute(ALL_ROWS).fetchall(), strict=True))


def sqlite_leftovers(address: str, kept: Sequence[str]) -> list[str]:
    with closing(sqlite3.connect(urlsplit(address).path[1:])) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        named = connection.execute("SELECT generation FROM mlkit_generations").fetchall()
    return sql_leftovers([*tables, *named], kept)


@contextmanager
def reading_postgres(address: str, ids: Sequence[str]) -> Iterator[Callable[[], Snapshot]]:
    def read() -> Snapshot:
        with connection.cursor() as cursor:
            cursor.execute(ALL_ROWS)
            frame = pl.DataFrame(cursor.fetch_arrow_table())
        return snapshot(frame["id"].to_list(), frame["prediction"].to_list())

    with closing(dbapi.connect(address.partition("?")[0], autocommit=True)) as connection:
        yield read


def postgres_leftovers(address: str, kept: Sequence[str]) -> list[str]:
    with closing(dbapi.connect(address.partition("?")[0])) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        tables = cursor.fetchall()
        cursor.execute("SELECT generation FROM mlkit_generations")
        return sql_leftovers([*tables, *cursor.fetchall()], kept)


def sql_leftovers(named: Sequence[tuple[str]], kept: Sequence[str]) -> list[str]:
    ours = {"mlkit_generations", *kept, *(f"eta__{name}" for name in kept)}
    return [name for (name,) in named if name not in ours]


def redis_client(address: str) -> redis.Redis:
    return redis.Redis(port=urlsplit(address).port or 0, decode_responses=True)


@contextmanager
def reading_redis(address: str, ids: Sequence[str]) -> Iterator[Callable[[], Snapshot]]:
    def read() -> Snapshot:
        generation = client.get("eta:current")
        rows = map(json.loads, client.mget([f"eta:{generation}:{id_}" for id_ in ids]))
        return snapshot(ids, [row["prediction"] for row in rows])

    with redis_client(address) as client:
        yield read


def redis_leftovers(address: str, kept: Sequence[str]) -> list[str]:
    """Rows of other generations, unless they are about to expire."""
    with redis_client(address) as client:
        others = [key for key in client.scan_iter(count=1000) if key.split(":")[1] not in kept]
        with client.pipeline(transaction=False) as pipeline:
            for key in others:
                pipeline.ttl(key)
            left = [key for key, ttl in zip(others, pipeline.execute(), strict=True) if ttl == -1]
        entries = client.hkeys("eta:generations")
    return [
        *sorted(set(left) - {"eta:current", "eta:generations"}),
        *(name for name in entries if name not in kept),
    ]


@contextmanager
def cassandra_session(address: str) -> Iterator[Session]:
    parts = urlsplit(address)
    with Cluster([(parts.hostname, parts.port)]) as cluster:
        yield cluster.connect(parts.path[1:])


@contextmanager
def reading_cassandra(address: str, ids: Sequence[str]) -> Iterator[Callable[[], Snapshot]]:
    def read() -> Snapshot:
        current = session.execute("SELECT current FROM mlkit_generations WHERE table_name = 'eta' LIMIT 1").one()[
            0
        ]
        chunks = [(current, list(ids[start : start + 100])) for start in range(0, len(ids), 100)]
        found = [row for _, rows in execute_concurrent_with_args(session, select, chunks) for row in rows]
        return snapshot(*zip(*sorted(found), strict=True))

    with cassandra_session(address) as session:
        select = session.prepare("SELECT key, prediction FROM eta WHERE generation = ? AND key IN ?")
        yield read


def cassandra_leftovers(address: str, kept: Sequence[str]) -> list[str]:
    with cassandra_session(address) as session:
        named = [
            *session.execute("SELECT generation FROM mlkit_generations"),
            *session.execute("SELECT DISTINCT table_name, generation, chunk FROM mlkit_keys"),
            *session.execute("SELECT DISTINCT generation, key FROM eta"),
        ]
    return sorted({row.generation for row in named} - set(kept))


OUTPUTS = {
    "folder": Output(reading_folder, folder_leftovers),
    "sqlite": Output(reading_sqlite, sqlite_leftovers),
    "postgresql": Output(reading_postgres, postgres_leftovers),
    "redis": Output(reading_redis, redis_leftovers, options="&grace_s=5"),
    "cassandra": Output(reading_cassandra, cassandra_leftovers, rounds=10, rows_per_file=250),
}
