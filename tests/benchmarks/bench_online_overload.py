"""Whether a server that is asked for three times what it can do still does nearly all that it can.

The flights model, 64 rows in a request, so that the client has time to spare. wrk finds the peak with 32 connections;
then requests arrive at three times that rate, as a Poisson process that waits for nobody.
Targets: goodput (answers within the deadline) of at least 0.90 of the peak, and the 99th percentile of the accepted
requests' latency under the deadline.

    python -m tests.benchmarks.bench_online_overload [SECONDS]
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

SECONDS, ROWS, CONNECTIONS = 10.0, 64, 512
DEADLINE_S = 1.0
OVERLOAD = 3.0
GOODPUT_TARGET = 0.90


def main(seconds: float = SECONDS) -> None:
    """Print what was asked and what was answered."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = mlkit(export_flights_model(folder / "bundle"), "--timeout-ms", str(round(DEADLINE_S * 1000)))
        bodies = write_bodies(folder, ROWS).read_bytes().splitlines()
        with started(server, bodies[0]):
            load(server.url, folder, 32, 3)
            peak = statistics.median(load(server.url, folder, 32, seconds / 2).rate for _ in range(3))
            results = send_at_rate(server.url, bodies, OVERLOAD * peak, seconds, CONNECTIONS)
            after = load(server.url, folder, 32, seconds / 2).rate
    _report(results, peak, after, seconds)


def _report(results: Results, peak: float, after: float, seconds: float) -> None:
    good = sum(latency <= DEADLINE_S for latency in results.latencies_s) / seconds
    p99 = statistics.quantiles(results.latencies_s, n=100)[98]
    print(
        f"peak {peak:,.0f} requests/s of {ROWS} rows; asked for {OVERLOAD * peak:,.0f}/s; afterwards {after:,.0f}/s"
    )
    print(f"answers: {dict(results.outcomes)}; no free connection for {results.unsent:,}")
    print(f"the client used {results.cpu_share:.0%} of a core")
    report("goodput at three times the peak, of the peak", good / peak, ">=", GOODPUT_TARGET)
    report("p99 of accepted requests, s", p99, "<", DEADLINE_S)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
