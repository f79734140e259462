"""How fast a generation of predictions is published to Cassandra, from Parquet parts to the last row.

50,000 rows of a whole number, a text and a prediction, to one node on this machine, whose cores it shares. Beside it,
in the same run: the raw limit (the same rows without deletion lists, bound beforehand, in the same batches) and the peer
(the driver's execute_concurrent_with_args, a hundred at a time). The first round only warms the node up.
Target: not slower than the peer.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.query import PreparedStatement

from mlops_kit.tables.cassandra.rows import Sending
from mlops_kit.tables.generation import Generation
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.benchmarks.verdict import report
from tests.servers.cassandra import CassandraServer, run_cassandra
from tests.tables.generations import write_generation

ROWS, ROUNDS = 50_000, 3
LOOK_UPS = 1000
PEER_TARGET = 1.0


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, run_cassandra(Path(folder) / "node") as server:
        generation = write_generation(Path(folder), _make_rows(), parts=8)
        ways: dict[str, Callable[[CassandraServer, Generation], float]] = {
            "raw limit: bound before": _send,
            "publish": _publish,
            "peer: execute_concurrent": _execute_concurrent,
        }
        rates: dict[str, list[float]] = {label: [] for label in ways}
        for _ in range(ROUNDS):
            for label, way in ways.items():
                rates[label].append(ROWS / way(server, generation))
        raw, ours, peer = (statistics.median(values[1:]) for values in rates.values())
        for label, rate in zip(rates, (raw, ours, peer), strict=True):
            print(f"{label:<26}{rate:10,.0f} rows/s   {rate / peer:5.1f} × peer   {rate / raw:5.2f} × raw limit")
        report("rows/s published to Cassandra, of the driver's own way", ours / peer, ">=", PEER_TARGET)
        print(f"{'look-up':<26}{_look_up(server, generation):10,.0f} rows/s")


def _publish(server: CassandraServer, generation: Generation) -> float:
    address = f"{server.url(server.new_keyspace())}?table=eta"
    with closing(open_table(resolve_address(address))) as table:
        started = time.perf_counter()
        table.publish(generation, 2, lambda rows: None)
        return time.perf_counter() - started


def _look_up(server: CassandraServer, generation: Generation) -> float:
    address = f"{server.url(server.new_keyspace())}?table=eta"
    with closing(open_table(resolve_address(address))) as table:
        table.publish(generation, 2, lambda rows: None)
        started = time.perf_counter()
        for key in range(LOOK_UPS):
            table.get([str(key)])
        return LOOK_UPS / (time.perf_counter() - started)


def _send(server: CassandraServer, generation: Generation) -> float:
    with server.session() as session:
        insert = _prepare(server, session)
        bound = [insert.bind(row) for row in _rows(generation)]
        started = time.perf_counter()
        sending = Sending(session)
        sending.send(bound)
        sending.finish()
        return time.perf_counter() - started


def _execute_concurrent(server: CassandraServer, generation: Generation) -> float:
    with server.session() as session:
        insert = _prepare(server, session)
        started = time.perf_counter()
        execute_concurrent_with_args(session, insert, _rows(generation), concurrency=100)
        return time.perf_counter() - started


def _prepare(server: CassandraServer, session: Session) -> PreparedStatement:
    table = f"{server.new_keyspace()}.eta"
    columns = "generation text, key text, id bigint, carrier text, prediction double"
    session.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ((generation, key)))")
    return session.prepare(
        f"INSERT INTO {table} (generation, key, id, carrier, prediction) VALUES (?, ?, ?, ?, ?)"
    )


def _rows(generation: Generation) -> list[tuple[Any, ...]]:
    batches = [pl.DataFrame(batch) for batch in generation.batches()]
    return [(generation.name, str(row[0]), *row) for batch in batches for row in batch.rows()]


def _make_rows() -> pl.DataFrame:
    random = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "id": np.arange(ROWS),
            "carrier": random.choice(["B6", "AA", "UA", "DL"], ROWS),
            "prediction": random.normal(20, 10, ROWS),
        }
    )


if __name__ == "__main__":
    main()
