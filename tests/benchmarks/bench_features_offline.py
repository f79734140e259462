"""How fast `mlkit features join` makes a training set, and how much memory it takes.

Ten million events of 30 days, in the order of time; a million rows that ask at random times of the second half; 5 windows
with sum, count and max. Of 3,000 users, of 10,000 and of 100,000: how many events a user has matters to DuckDB, and
hardly to the join. Parquet to Parquet, each way in a process of its own, timed from its start to its end. Beside it,
in the same run: DuckDB with `OVER (… RANGE …)` over events and rows together, on as many threads, whose sums are
inexact. Counts and maxima must be the same.
Targets: at least 8 times as fast as DuckDB, in less memory.

    python -m tests.benchmarks.bench_features_offline [EVENTS] [ROWS]
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mlops_kit.schema import Array
from tests.benchmarks.verdict import report

EVENTS, ROWS = 10_000_000, 1_000_000
FASTER_TARGET = 8.0
USERS = (3_000, 10_000, 100_000)
SPAN_S, START_S = 30 * 86400, 1_700_000_000
WINDOWS = {"1h": 3600, "6h": 6 * 3600, "1d": 86400, "7d": 7 * 86400, "15d": 15 * 86400}

DEFINITION = f"""
from mlops_kit.features import Events, count, max, sum
clicks = Events("clicks", key="user", time="at", history="clicks.parquet")
features = [
    clicks.window(window).agg(
        **{{f"sum_{{window}}": sum("amount"), f"count_{{window}}": count(), f"max_{{window}}": max("amount")}}
    )
    for window in {list(WINDOWS)}
]
"""

DUCKDB = """
import duckdb, sys
duckdb.sql(open(sys.argv[1]).read())
"""


def main(events: int = EVENTS, rows: int = ROWS) -> None:
    """Print a table for each number of users."""
    for users in USERS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _write_data(folder, events, rows, users)
            (folder / "features.py").write_text(DEFINITION)
            (folder / "query.sql").write_text(_query())
            print(f"{users:,} users")
            _measure(folder, events, users)


def _measure(folder: Path, events: int, users: int) -> None:
    _run(_mlkit(), folder)  # compiles the kernel, once per machine
    ours = _run(_mlkit(), folder)
    theirs = _run([sys.executable, "-c", DUCKDB, "query.sql"], folder)
    for label, took in (("mlkit features join", ours), ("DuckDB OVER RANGE", theirs)):
        rate = events / took.seconds
        print(
            f"{label:<21}{took.seconds:7.1f} s ({took.cpu_s:.1f} s of CPU){rate:12,.0f} events/s{took.peak / 1e6:7,.0f} MB"
        )
    faster = theirs.seconds / ours.seconds
    report(f"joins for {users:,} users, times as fast as DuckDB", faster, ">=", FASTER_TARGET)
    report(f"memory of joins for {users:,} users, of DuckDB's", ours.peak / theirs.peak, "<", 1.0)
    _compare(folder)


def _write_data(folder: Path, events: int, rows: int, users: int) -> None:
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, SPAN_S * 10**6, events))
    amounts = np.round(rng.lognormal(3, 1, events), 2)
    clicks = {"user": rng.integers(0, users, events), "at": _datetimes(times), "amount": amounts}
    pl.DataFrame(clicks).write_parquet(folder / "clicks.parquet")
    asked = rng.integers(SPAN_S * 10**6 // 2, SPAN_S * 10**6, rows)
    labels = {"id": np.arange(rows), "user": rng.integers(0, users, rows), "t": _datetimes(asked)}
    pl.DataFrame(labels).write_parquet(folder / "labels.parquet")


def _datetimes(times: Array) -> pl.Series:
    return pl.Series(times + START_S * 10**6).cast(pl.Datetime("us"))


def _query() -> str:
    columns = ", ".join(
        f'sum(amount) OVER "{name}" AS "sum_{name}", count(event) OVER "{name}" AS "count_{name}", '
        f'max(amount) OVER "{name}" AS "max_{name}"'
        for name in WINDOWS
    )
    windows = ", ".join(
        f'"{name}" AS (PARTITION BY user ORDER BY ts RANGE BETWEEN {seconds * 10**6} PRECEDING AND 1 PRECEDING)'
        for name, seconds in WINDOWS.items()
    )
    return f"""
        COPY (
            WITH everything AS (
                SELECT user, epoch_us(clicks."at") AS ts, amount, true AS event, NULL AS id FROM 'clicks.parquet' clicks
                UNION ALL SELECT user, epoch_us(t), NULL, NULL, id FROM 'labels.parquet'
            )
            SELECT id, user, ts, {columns} FROM everything WINDOW {windows} QUALIFY id IS NOT NULL ORDER BY id
        ) TO 'duckdb.parquet'
    """


def _mlkit() -> list[str]:
    command = [sys.executable, "-c", "from mlops_kit_cli.main import run; run()", "features", "join"]
    return [*command, "--features", "features.py", "--spine", "labels.parquet", "--out", "training.parquet"]


@dataclass(frozen=True, slots=True)
class Took:
    """What a process took from its start to its end; `peak` is in bytes."""

    seconds: float
    cpu_s: float
    peak: int


def _run(command: list[str], folder: Path) -> Took:
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{command}: failed")
    return Took(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _compare(folder: Path) -> None:
    """Counts and maxima must be the same; sums differ in their last bits."""
    ours, theirs = pl.read_parquet(folder / "training.parquet"), pl.read_parquet(folder / "duckdb.parquet")
    exact = [f"{name}_{window}" for window in WINDOWS for name in ("count", "max")]
    sums = [f"sum_{window}" for window in WINDOWS]
    if not ours.select(exact).equals(theirs.select(exact)):
        raise SystemExit("counts and maxima differ")
    differing = sum(int((ours[name] != theirs[name]).sum()) for name in sums)
    print(
        f"       counts and maxima are the same; {differing / (len(ours) * len(sums)):.2%} of DuckDB's sums are inexact"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
