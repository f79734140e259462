"""Whether a server that is asked for three times what it can do still does nearly all that it can.

The flights model, 64 rows in a request, so that the client has time to spare. wrk finds the peak with 32 connections;
then requests arrive at three times that rate, as a Poisson process that waits for nobody, over more connections than
the server's queue has room for, so that it has to refuse most of them. Rounds interleave the two, and medians are
compared.
Targets: goodput (answers within the deadline) of at least 0.90 of the peak, and the 99th percentile of the accepted
requests' latency under the deadline.

    python -m tests.benchmarks.bench_online_overload [SECONDS] [ROUNDS]
"""

import statistics
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.flights_model import export_flights_model
from tests.benchmarks.online.open_loop import Results, send_at_rate
from tests.benchmarks.online.servers import mlkit, started
from tests.benchmarks.online.wrk import load, write_bodies
from tests.benchmarks.verdict import report

SECONDS, ROUNDS, ROWS = 10.0, 3, 64
QUEUE, CONNECTIONS = 256, 1024
DEADLINE_S = 1.0
OVERLOAD = 3.0
GOODPUT_TARGET = 0.90


def main(seconds: float = SECONDS, rounds: int = ROUNDS) -> None:
    """Print what was asked and what was answered."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export_flights_model(folder / "bundle")
        words = ("--queue", str(QUEUE), "--timeout-ms", str(round(DEADLINE_S * 1000)))
        server = mlkit(bundle, *words)
        bodies = write_bodies(folder, ROWS).read_bytes().splitlines()
        ratios, p99s = [], []
        with started(server, bodies[0]):
            load(server.url, folder, 32, 3)
            for _ in range(rounds):
                peak = load(server.url, folder, 32, seconds / 2).rate
                results = send_at_rate(server.url, bodies, OVERLOAD * peak, seconds, CONNECTIONS)
                good = sum(latency <= DEADLINE_S for latency in results.latencies_s) / seconds
                ratios.append(good / peak)
                p99s.append(statistics.quantiles(results.latencies_s, n=100)[98])
                _tell(results, peak, good)
    report("goodput at three times the peak, of the peak", statistics.median(ratios), ">=", GOODPUT_TARGET)
    report("p99 of accepted requests, s", statistics.median(p99s), "<", DEADLINE_S)


def _tell(results: Results, peak: float, good: float) -> None:
    print(
        f"peak {peak:,.0f} requests/s of {ROWS} rows; asked for {OVERLOAD * peak:,.0f}/s, {good:,.0f}/s were good: "
        f"{dict(results.outcomes)}, no free connection for {results.unsent:,}; the client used "
        f"{results.cpu_share:.0%} of a core"
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    main(float(given[0]) if given else SECONDS, int(given[1]) if given[1:] else ROUNDS)
