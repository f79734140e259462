"""What looking up features costs a server: 20 window features from Valkey on the loopback interface, one row in a
request, distinct keys, one worker, wrk with 32 connections.

The same model is served twice, in turns: with the features looked up, and with requests that bring them.
Target: at least half of the requests per second.

    python -m tests.benchmarks.bench_online_features [SECONDS] [ROUNDS]
"""

import json
import statistics
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

import mlops_kit
from mlops_kit.features.definition.loading import load_definition
from mlops_kit.features.online.filling import Filling, fill_state
from mlops_kit.features.online.records import now_us
from mlops_kit.stores.resolve import open_store
from tests.benchmarks.online.servers import mlkit, started
from tests.benchmarks.online.wrk import SCRIPT, load
from tests.benchmarks.verdict import report
from tests.servers.valkey import run_valkey

SECONDS, ROUNDS, WARM_UP_S, CONNECTIONS = 8.0, 3, 2.0, 32
TARGET = 0.5
KEYS, EVENTS = 4096, 100_000
NUMBERS = ("distance", "hour", "temp", "visib")
DEFINITION = """
from mlops_kit.features import Events, count, max, mean, min, std

clicks = Events("clicks", key="user", time="at", history=r"{folder}/clicks.parquet")
features = [
    clicks.window(w).agg(**{{
        f"n_{{w}}": count(), f"mean_{{w}}": mean("x", default=0.0), f"max_{{w}}": max("x", default=0.0),
        f"min_{{w}}": min("x", default=0.0), f"std_{{w}}": std("x", default=0.0),
    }})
    for w in ("1h", "6h", "1d", "7d")
]
"""
FEATURES = [
    f"{name}_{window}" for window in ("1h", "6h", "1d", "7d") for name in ("n", "mean", "max", "min", "std")
]


def main(seconds: float = SECONDS, rounds: int = ROUNDS) -> None:
    """Print both rates and their ratio."""
    rates: dict[str, list[float]] = {"brought by requests": [], "looked up": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "valkey").mkdir()
        with run_valkey(folder / "valkey") as valkey:
            uri = f"redis://127.0.0.1:{valkey.port}/0"
            bundle = _prepare(folder, uri)
            words = ("--store", uri, "--store-timeout-ms", "5000", "--timeout-ms", "10000")
            for _ in range(rounds):
                for label, options in (("brought by requests", ()), ("looked up", words)):
                    place = folder / label.replace(" ", "-")
                    body = (place / "bodies").read_bytes().partition(b"\n")[0]
                    contender = mlkit(bundle, "--grpc-port", "0", *options)
                    with started(contender, body):
                        load(contender.url, place, CONNECTIONS, WARM_UP_S)
                        measured = load(contender.url, place, CONNECTIONS, seconds)
                    if measured.failed:
                        raise RuntimeError(f"{label}: {measured.failed} requests failed")
                    rates[label].append(measured.rate)
    medians = {label: statistics.median(found) for label, found in rates.items()}
    for label, rate in medians.items():
        print(f"{label:<22}{rate:10,.0f} requests/s")
    ratio = medians["looked up"] / medians["brought by requests"]
    report("requests/s with 20 window features in Redis, of those without", ratio, ">=", TARGET)


def _prepare(folder: Path, uri: str) -> Path:
    """The bundle, a store that has the history, and the bodies of both kinds of requests."""
    rng = np.random.default_rng(0)
    at = np.sort(now_us() - rng.integers(0, 7 * 86_400_000_000, EVENTS))
    history = {"user": rng.integers(0, KEYS, EVENTS), "at": at, "x": rng.normal(size=EVENTS)}
    pl.DataFrame(history).write_parquet(folder / "clicks.parquet")
    (folder / "features.py").write_text(DEFINITION.format(folder=folder))
    names = [*NUMBERS, *FEATURES]
    rows = pl.DataFrame({name: rng.normal(size=4000).round(3) for name in names})
    data = lightgbm.Dataset(rows.to_numpy(), rows.sum_horizontal().to_numpy(), feature_name=names)
    booster = lightgbm.train({"objective": "regression", "verbose": -1, "num_threads": 2, "seed": 0}, data, 100)
    features = load_definition(folder / "features.py")
    mlops_kit.export(booster, sample=rows, features=features, out=folder / "bundle")
    with closing(open_store(uri)) as store:
        fill_state(features.events[0], features.windows, store, Filling(now_us()))
    users = rng.permutation(KEYS).tolist()
    own = [
        {"user": user, **row} for user, row in zip(users, rows.select(NUMBERS).head(KEYS).to_dicts(), strict=False)
    ]
    _write(folder / "looked-up", own)
    _write(folder / "brought-by-requests", rows.to_dicts())
    return folder / "bundle"


def _write(folder: Path, rows: list[dict[str, Any]]) -> None:
    folder.mkdir()
    bodies = [json.dumps({"dataframe_split": {"columns": [*row], "data": [[*row.values()]]}}) for row in rows]
    (folder / "bodies").write_text("\n".join(bodies) + "\n")
    (folder / "load.lua").write_text(SCRIPT % (folder / "bodies"))


if __name__ == "__main__":
    given = sys.argv[1:]
    main(float(given[0]) if given else SECONDS, int(given[1]) if given[1:] else ROUNDS)
