"""Whether the load client of `mlkit bench` finds what was planted in a server.

A server that sleeps 5 ms for each request; one that does nothing for 1 s every 10 s, at 1,000 requests per second that
wait for nobody: a tenth of them wait, evenly from 0 to 1 s, so that 1 % of all wait longer than 0.9 s and 5 % longer
than 0.5 s; one that does 1,000 requests per second, one after the other, asked by wrk, too; and one that has work for
2 ms, which wrk asks at the same time. Every figure is the median of some rounds.
Targets: an error of at most 5 %, and of at most 10 % where wrk says what is right.

    python -m tests.benchmarks.bench_planted [ROUNDS]
"""

import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mlops_kit.bench.load.interface import Closed, Open
from mlops_kit.bench.load.processes import LoadProcess, load_process
from mlops_kit.bench.statistics import percentile_of
from tests.bench.planted import Capacity, Sleeping, Stalling, Working, planted
from tests.bench.wrk import wrk_rate
from tests.benchmarks.verdict import report

ROUNDS, CONNECTIONS = 3, 8
SLEEP_S, EVERY_S, STALL_S, RATE = 0.005, 10.0, 1.0, 1000.0
OWN_TARGET, WRK_TARGET = 0.05, 0.1


def main(rounds: int = ROUNDS) -> None:
    """Print the errors."""
    with load_process() as client:
        _sleep(client, rounds)
        _stall(client, rounds)
        _capacity(client, rounds)
        _share(client, rounds)


def _sleep(client: LoadProcess, rounds: int) -> None:
    with planted(Sleeping(SLEEP_S)) as target:

        def measure() -> float:
            return percentile_of(client.run(target, Closed(CONNECTIONS, 3)).latencies_s, 0.5)

        _report("p50 of a server that sleeps 5 ms", _median(measure, rounds), SLEEP_S, OWN_TARGET)


def _stall(client: LoadProcess, rounds: int) -> None:
    with planted(Stalling(EVERY_S, STALL_S)) as target:
        found = [client.run(target, Open(RATE, EVERY_S)).latencies_s for _ in range(rounds)]
    for q, expected in ((0.99, 0.9 * STALL_S), (0.95, 0.5 * STALL_S)):
        value = statistics.median(percentile_of(latencies, q) for latencies in found)
        _report(f"p{q * 100:.0f} of a server that stalls for 1 s every 10 s", value, expected, OWN_TARGET)


def _capacity(client: LoadProcess, rounds: int) -> None:
    with planted(Capacity(RATE)) as target:
        closed = _median(lambda: client.run(target, Closed(CONNECTIONS, 3)).rate, rounds)
        arriving = _median(lambda: client.run(target, Open(1.5 * RATE, 3)).rate, rounds)
        theirs = _median(lambda: wrk_rate(target.port, CONNECTIONS, 3), rounds)
    _report("requests/s in a closed loop, of what a server can do", closed, RATE, OWN_TARGET)
    _report("requests/s in an open loop, of what a server can do", arriving, RATE, OWN_TARGET)
    _report("requests/s in a closed loop, of wrk's", closed, theirs, WRK_TARGET)


def _share(client: LoadProcess, rounds: int) -> None:
    with planted(Working(0.002)) as target, ThreadPoolExecutor(1) as other:

        def measure() -> float:
            theirs = other.submit(wrk_rate, target.port, CONNECTIONS, 3)
            return client.run(target, Closed(CONNECTIONS, 3)).rate / theirs.result()

        _report("requests/s beside wrk at the same server, of wrk's", _median(measure, rounds), 1.0, WRK_TARGET)


def _median(measure: Callable[[], float], rounds: int) -> float:
    return statistics.median(measure() for _ in range(rounds))


def _report(name: str, found: float, expected: float, target: float) -> None:
    print(f"{name}: {found:.6g}, expected {expected:.6g}")
    report(f"error of the {name}", abs(found / expected - 1), "<=", target)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
