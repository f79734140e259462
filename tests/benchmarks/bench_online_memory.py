"""Whether a server that has answered a million requests takes more memory than after ten thousand.

The flights model, one row in a request, 32 connections.
Target: at most 5 % more.

    python -m tests.benchmarks.bench_online_memory [REQUESTS]
"""

import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.benchmarks.flights_model import export_flights_model
from tests.benchmarks.online.servers import Contender, mlkit, started
from tests.benchmarks.online.wrk import load, write_bodies
from tests.benchmarks.verdict import report

REQUESTS, FEW = 1_000_000, 10_000
TARGET = 0.05


def main(requests: int = REQUESTS) -> None:
    """Print both sizes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = mlkit(export_flights_model(folder / "bundle"))
        body = write_bodies(folder).read_bytes().partition(b"\n")[0]
        with started(server, body):
            rate = 0.0
            while _metric(server, "mlkit_rows_total{") < FEW:
                rate = load(server.url, folder, 32, 2).rate
            before = _memory(server)
            while (left := requests - _metric(server, "mlkit_rows_total{")) > 0:
                load(server.url, folder, 32, max(2.0, left / rate))
            after, answered = _memory(server), _metric(server, "mlkit_rows_total{")
    growth = after / before - 1
    print(
        f"{before / 1e6:.1f} MB after {FEW:,} requests or a few more, {after / 1e6:.1f} MB after {answered:,.0f}"
    )
    report("growth of the server's memory", growth, "<=", TARGET)


def _memory(server: Contender) -> float:
    return _metric(server, 'mlkit_process_resident_memory_bytes{process="worker-0"')


def _metric(server: Contender, beginning: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(beginning)).rpartition(" ")[2])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
