"""How many events a second go into the state of windows: in this process, on one core, and into stores.

10 features (count, sum, mean, std and max of an hour and of 30 days by the day, last, distinct_count of a day by the
hour) over 1,000 keys, from Polars frames, 20,000 events at a time into memory and 10,000 into a store. Beside it, in
the same run, the raw limit: the kernel alone, given the same events by key, as they are after admission. Both count
the seconds that all threads have computed, which is what one core would take; stores count those that have passed.
Target: at least 200,000 events/s into memory.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from mlops_kit.features.definition.feature_set import Aggregation, EventSource, Field, KeyField, WindowFeature
from mlops_kit.features.kernel.states import apply_events
from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.grouping import group_events
from mlops_kit.features.online.pushing import Pusher, push_to_memory
from mlops_kit.stores.resolve import open_store
from tests.benchmarks.verdict import report
from tests.servers.postgres import run_postgres
from tests.servers.valkey import run_valkey

EVENTS, KEYS, ROUNDS = 400_000, 1000, 3
MEMORY_BATCH, STORE_BATCH = 20_000, 10_000
TARGET = 200_000
HOUR = 3_600_000_000


def _window(name: str, aggregation: Aggregation, hours: int, hop: int = 0) -> WindowFeature:
    kind = "int64" if aggregation in ("count", "distinct_count") else "float64"
    column = "" if aggregation == "count" else "x"
    return WindowFeature(name, "clicks", hours * HOUR, aggregation, kind, column, hop_us=hop * HOUR)  # type: ignore[arg-type]


SOURCE = EventSource("clicks", (KeyField("user", "user", "int64"),), "at", (Field("x", "float64"),))
HOURLY: tuple[Aggregation, ...] = ("count", "sum", "mean", "max")
FEATURES = (
    *(_window(f"{name}_1h", name, 1) for name in HOURLY),
    *(_window(f"{name}_30d", name, 720, 24) for name in ("count", "sum", "std", "max")),
    _window("last", "last", 1),
    _window("distinct", "distinct_count", 24, 1),
)
LAYOUT = compile_layout(SOURCE, FEATURES)


def main() -> None:
    """Print the table."""
    events, seq = _make_events(), np.arange(EVENTS)
    _into_memory(events[:MEMORY_BATCH], seq[:MEMORY_BATCH])  # compiles
    ways: dict[str, Callable[[], float]] = {
        "kernel alone": lambda: _kernel(events, seq),
        "memory": lambda: _into_memory(events, seq),
    }
    rates = {name: statistics.median(way() for _ in range(ROUNDS)) for name, way in ways.items()}
    rates |= {f"store: {kind}": _into_store(kind, events, seq) for kind in ("sqlite", "redis", "postgresql")}
    for name, rate in rates.items():
        print(f"{name:<20}{rate:12,.0f} events/s   {rate / rates['kernel alone']:5.2f} × kernel alone")
    report("events/s pushed into memory", rates["memory"], ">=", TARGET)


def _into_memory(events: pl.DataFrame, seq: np.ndarray) -> float:
    states: dict[bytes, bytes] = {}
    started = time.process_time()
    for first in range(0, len(events), MEMORY_BATCH):
        rows = slice(first, first + MEMORY_BATCH)
        push_to_memory(SOURCE, LAYOUT, states, events[rows], seq[rows])
    return len(events) / (time.process_time() - started)


def _kernel(events: pl.DataFrame, seq: np.ndarray) -> float:
    states: dict[bytes, bytes] = {}
    portions = [slice(first, first + MEMORY_BATCH) for first in range(0, len(events), MEMORY_BATCH)]
    grouped = [group_events(events[rows], SOURCE, LAYOUT, seq[rows])[0] for rows in portions]
    taken = 0.0
    for one in grouped:
        before = [states.get(key) for key in one.keys]
        started = time.process_time()
        after = apply_events(LAYOUT, before, one.events, one.texts)
        taken += time.process_time() - started
        states.update({key: state for key, state in zip(one.keys, after.states, strict=True) if state})
    return len(events) / taken


def _into_store(kind: str, events: pl.DataFrame, seq: np.ndarray) -> float:
    with _place(kind) as uri, closing(open_store(uri)) as store:
        pusher = Pusher(SOURCE, LAYOUT, store)
        started = time.perf_counter()
        for first in range(0, len(events), STORE_BATCH):
            rows = slice(first, first + STORE_BATCH)
            pusher.push(events[rows], seq[rows])
        return len(events) / (time.perf_counter() - started)


@contextmanager
def _place(kind: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="mlkit-bench-") as name:
        folder = Path(name)
        if kind == "sqlite":
            yield f"sqlite:///{folder}/features.db"
        elif kind == "redis":
            with run_valkey(folder) as valkey:
                yield f"redis://127.0.0.1:{valkey.port}/0"
        else:
            with run_postgres(folder, ()) as postgres:
                yield postgres.url()


def _make_events() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    at = 1_700_000_000_000_000 + np.arange(EVENTS) * 100_000 + rng.integers(0, 30_000_000, EVENTS)
    return pl.DataFrame({"user": rng.integers(0, KEYS, EVENTS), "at": at, "x": rng.normal(size=EVENTS)})


if __name__ == "__main__":
    main()
