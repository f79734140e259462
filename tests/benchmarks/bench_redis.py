"""How fast a generation of predictions is published to Redis or Valkey, from Parquet parts to the last key.

A million rows of a whole number, a text and a prediction, over the loopback interface, to a server that is empty
before each run. Beside it, in the same run: the raw limit (the same commands, encoded beforehand, through the same client)
and the peer (redis-py's pipeline of SET with json.dumps for each row, a thousand at a time).
Target: at least 100,000 keys/s.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
import redis

from mlops_kit.tables.generation import Generation
from mlops_kit.tables.redis.encoding import RowEncoder
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.benchmarks.verdict import report
from tests.servers.valkey import ValkeyServer, run_valkey
from tests.tables.generations import write_generation

ROWS, ROUNDS, CHUNK = 1_000_000, 3, 1000
TARGET = 100_000


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        generation = write_generation(Path(folder), _make_rows(), parts=8)
        encoder = RowEncoder(generation.schema, generation.key, f"eta:{generation.name}:")
        commands = [command for batch in generation.batches() for command in encoder.encode(batch)]
        ways: dict[str, Callable[[ValkeyServer], None]] = {
            "raw limit: encoded before": lambda server: _send(server, commands),
            "publish": lambda server: _publish(server, generation),
            "peer: pipeline of SET": lambda server: _pipeline(server, generation),
        }
        rates: dict[str, list[float]] = {label: [] for label in ways}
        for round_number in range(ROUNDS):
            for label, way in ways.items():
                rates[label].append(
                    _measure(way, Path(folder) / f"{round_number}-{len(rates[label])}-{label[:4]}")
                )
    raw, ours, peer = (statistics.median(values) for values in rates.values())
    for label, rate in zip(rates, (raw, ours, peer), strict=True):
        print(f"{label:<26}{rate:12,.0f} keys/s   {rate / peer:5.1f} × peer   {rate / raw:5.2f} × raw limit")
    report("keys/s published to Redis", ours, ">=", TARGET)


def _measure(way: Callable[[ValkeyServer], None], folder: Path) -> float:
    """Keys per second, on a fresh server."""
    folder.mkdir()
    with run_valkey(folder) as server:
        started = time.perf_counter()
        way(server)
        seconds = time.perf_counter() - started
        with server.client() as client:
            if client.dbsize() < ROWS:
                raise RuntimeError("keys are missing")
    return ROWS / seconds


def _publish(server: ValkeyServer, generation: Generation) -> None:
    with closing(open_table(resolve_address(server.url()))) as table:
        table.publish(generation, 2, lambda rows: None)


def _send(server: ValkeyServer, commands: list[bytes]) -> None:
    with redis.Redis(port=server.port) as client:
        connection = client.connection_pool.get_connection()
        answers_due = 0
        for first in range(0, len(commands), 16):
            batch = commands[first : first + 16]
            connection.send_packed_command(batch)
            for _ in range(answers_due):
                connection.read_response()
            answers_due = len(batch)
        for _ in range(answers_due):
            connection.read_response()


def _pipeline(server: ValkeyServer, generation: Generation) -> None:
    with redis.Redis(port=server.port) as client:
        for batch in generation.batches(CHUNK):
            pipeline = client.pipeline(transaction=False)
            for row in batch.to_pylist():
                pipeline.set(f"eta:{generation.name}:{row['id']}", json.dumps(row))
            pipeline.execute()


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
