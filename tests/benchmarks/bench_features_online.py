"""How long one key's 50 features take from a store, in process, and how fast a table gets into it; beside Feast.

The table has 20,000 entities with 50 float columns. Feast is installed in an environment of its own, and both read
the same Parquet file and take turns, over SQLite and over Valkey on the loopback interface; the first tenth of the
reads is left out. Beside them, the raw limit: the store's own read of the same bytes.
Targets: p50 and p99 at most 1/4 of Feast's on SQLite and 1/2 on Redis; 20 times its entities/s.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mlops_kit.features.definition.feature_set import FeatureSet, Field, KeyField, TableFeature, TableSource
from mlops_kit.features.online.filling import Filling
from mlops_kit.features.online.publishing import publish_table
from mlops_kit.features.online.vectors import FeatureReader
from mlops_kit.stores.interface import Store
from mlops_kit.stores.resolve import open_store
from tests.benchmarks.online.servers import make_environment
from tests.benchmarks.verdict import report
from tests.servers.valkey import run_valkey

ENTITIES, COLUMNS, READS, ROUNDS = 20_000, 50, 5000, 3
NOW_US = 1_800_000_000_000_000
FASTER = {"sqlite": 4.0, "redis": 2.0}
FILLS_FASTER = 20.0
FEAST = ("feast[redis]>=0.67", "setuptools<81")


@dataclass(frozen=True)
class Measured:
    """Milliseconds of a read, and entities per second. `raw_ms` is the store's own read."""

    p50_ms: float
    p99_ms: float
    entities_per_s: float
    raw_ms: float = 0.0


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows, features = _write_table(folder)
        python = Path(sys.argv[1]) if len(sys.argv) > 1 else make_environment(folder / "feast", *FEAST)
        for kind in FASTER:
            _compare(kind, features, rows, folder, python)


def _compare(kind: str, features: FeatureSet, rows: Path, folder: Path, python: Path) -> None:
    ours, feast = [], []
    for number in range(ROUNDS):
        place = folder / f"{kind}-{number}"
        place.mkdir()
        with _place(kind, place) as (uri, _):
            ours.append(_measure(features, uri))
        with _place(kind, place) as (_, port):
            feast.append(_measure_feast(python, rows, place, kind, port))
    mine, theirs = _median(ours), _median(feast)
    print(f"{kind:<8}{'p50':>10}{'p99':>10}{'entities/s':>14}{'store alone':>14}")
    for label, one in (("mlkit", mine), ("Feast", theirs)):
        raw = f"{one.raw_ms:11.3f} ms" if one.raw_ms else ""
        print(f"{label:<8}{one.p50_ms:7.3f} ms{one.p99_ms:7.3f} ms{one.entities_per_s:14,.0f}{raw}")
    ratios = theirs.p50_ms / mine.p50_ms, theirs.p99_ms / mine.p99_ms, mine.entities_per_s / theirs.entities_per_s
    report(f"p50 of a read from {kind}, Feast's of ours", ratios[0], ">=", FASTER[kind])
    report(f"p99 of a read from {kind}, Feast's of ours", ratios[1], ">=", FASTER[kind])
    report(f"entities/s into {kind}, of Feast's", ratios[2], ">=", FILLS_FASTER)


def _measure(features: FeatureSet, uri: str) -> Measured:
    with closing(open_store(uri)) as store:
        started = time.perf_counter()
        publish_table(features.tables[0], features, store, Filling(NOW_US))
        filled_s = time.perf_counter() - started
        reader = FeatureReader(features, store)

        def read(number: int) -> None:
            found = reader.read({"id": np.array([number * 7919 % ENTITIES])}, np.array([NOW_US]))
            if found.is_missing["numbers"][0]:
                raise RuntimeError("mlkit has no value")

        taken = _timed(read)
        p50, p99 = np.percentile(taken, [50, 99]) * 1000
        return Measured(p50, p99, ENTITIES / filled_s, float(np.median(_timed(_raw(store)))) * 1000)


def _raw(store: Store) -> Callable[[int], object]:
    (space,) = store.spaces("table/")
    return lambda number: store.read([(space, b"i%d" % (number * 7919 % ENTITIES))])


def _timed(read: Callable[[int], object]) -> list[float]:
    taken = []
    for number in range(READS):
        started = time.perf_counter()
        read(number)
        taken.append(time.perf_counter() - started)
    return taken[READS // 10 :]


def _measure_feast(python: Path, rows: Path, folder: Path, kind: str, port: int) -> Measured:
    script = Path(__file__).parent / "features" / "with_feast.py"
    command = [python, script, rows, folder, kind, str(port), str(READS)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    p50, p99 = np.percentile(found["reads_s"], [50, 99]) * 1000
    return Measured(p50, p99, ENTITIES / found["filled_s"])


def _median(rounds: list[Measured]) -> Measured:
    columns = zip(*((one.p50_ms, one.p99_ms, one.entities_per_s, one.raw_ms) for one in rounds), strict=True)
    return Measured(*(float(np.median(column)) for column in columns))


@contextmanager
def _place(kind: str, folder: Path) -> Iterator[tuple[str, int]]:
    """An address that nothing is at, and the port of its server."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/mlkit.db", 0
        return
    with run_valkey(folder) as server:
        yield f"redis://127.0.0.1:{server.port}/0", server.port


def _write_table(folder: Path) -> tuple[Path, FeatureSet]:
    rng = np.random.default_rng(0)
    names = [f"f{number}" for number in range(COLUMNS)]
    frame = pl.DataFrame({"id": np.arange(ENTITIES), **{name: rng.normal(size=ENTITIES) for name in names}})
    at = pl.lit(1_600_000_000_000_000).cast(pl.Datetime("us", "UTC")).alias("at")
    frame.with_columns(at).write_parquet(folder / "rows.parquet")
    fields = tuple(Field(name, "float64") for name in names)
    table = TableSource("numbers", (KeyField("id", "id", "int64"),), fields, str(folder / "rows.parquet"))
    lookups = tuple(TableFeature(name, "numbers", name, "float64") for name in names)
    return folder / "rows.parquet", FeatureSet((), (table,), (), lookups)


if __name__ == "__main__":
    main()
