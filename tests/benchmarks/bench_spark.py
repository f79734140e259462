"""How fast `--engine spark` scores Parquet files, on two local slots.

The flights model, Parquet to Parquet. Beside it, in the same run and the same Spark session: a mapInArrow job as people
write it by hand (Spark reads the columns, ONNX Runtime takes them as one float matrix, Spark writes); and the local
engine with two threads. Spark and its Python workers are started before the clock, and have done a small job.
Targets: at least 0.9 of the job written by hand; the local engine at least 1.8 times as fast.

    python -m tests.benchmarks.bench_spark [ROWS] [ROUNDS]
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
from pyspark.sql import SparkSession

from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.run import run_batch
from mlops_kit.modes.batch.spark.session import open_session
from tests.benchmarks.flights_model import COLUMNS, export_flights_model
from tests.benchmarks.flights_rows import write_flights
from tests.benchmarks.verdict import report
from tests.modes.batch.rows import Watching

ROWS, ROUNDS, WARMING_ROWS = 4_000_000, 3, 500_000
HAND_TARGET, LOCAL_TARGET = 0.9, 1.8
DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}
SPARK_TYPES = {"tensor(float)": "float", "tensor(double)": "double"}
SESSIONS: dict[str, onnxruntime.InferenceSession] = {}
"""One for each process, as a careful author would have it."""

Way = Callable[[Path, Path], None]
"""Scores a file into a folder."""


def main(rows: int = ROWS, rounds: int = ROUNDS) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export_flights_model(folder / "bundle")
        with open_session("local[2]", folder / "log") as session:
            ways: dict[str, Way] = {
                "written by hand": lambda source, out: _by_hand(session, bundle, source, out),
                "--engine spark": lambda source, out: _mlkit(bundle, source, out, engine="spark"),
                "--engine local": lambda source, out: _mlkit(bundle, source, out, threads=2),
            }
            warming = write_flights(folder / "warming.parquet", WARMING_ROWS)
            source = write_flights(folder / "rows.parquet", rows)
            for way in ways.values():
                _time(way, warming, folder / "out")
            rates: dict[str, list[float]] = {label: [] for label in ways}
            for _ in range(rounds):
                for label, way in ways.items():
                    rates[label].append(rows / _time(way, source, folder / "out"))
    hand, spark, local = (statistics.median(values) for values in rates.values())
    for label, rate in zip(rates, (hand, spark, local), strict=True):
        print(f"{label:<18}{rate:12,.0f} rows/s   {rate / hand:5.2f} × by hand")
    report("rows/s on Spark, of a job written by hand", spark / hand, ">=", HAND_TARGET)
    report("rows/s of the local engine, of Spark's", local / spark, ">=", LOCAL_TARGET)


def _time(way: Way, source: Path, out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    way(source, out)
    return time.perf_counter() - started


def _mlkit(bundle: Path, source: Path, out: Path, *, engine: str = "local", threads: int | None = None) -> None:
    run_batch(BatchJob(bundle, str(source), str(out), keep=("id",), engine=engine, threads=threads), Watching())


def _by_hand(session: SparkSession, bundle: Path, source: Path, out: Path) -> None:
    model = str(bundle / "model.onnx")
    given, made = load_once(model).get_inputs()[0], load_once(model).get_outputs()[0]
    name_of_input, dtype = given.name, DTYPES[given.type]

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from tests.benchmarks.bench_spark import load_once

        onnx = load_once(model)
        for batch in batches:
            matrix = np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in COLUMNS])
            answers = onnx.run(None, {name_of_input: matrix.astype(dtype, copy=False)})[0]
            yield pa.RecordBatch.from_arrays(
                [batch.column("id"), pa.array(answers.reshape(-1))], names=["id", "prediction"]
            )

    rows = session.read.parquet(str(source)).select("id", *COLUMNS)
    kind = dict(rows.dtypes)["id"]
    rows.mapInArrow(score, f"id {kind}, prediction {SPARK_TYPES[made.type]}").write.parquet(str(out))


def load_once(model: str) -> onnxruntime.InferenceSession:
    """The session of this process."""
    if model not in SESSIONS:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        SESSIONS[model] = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return SESSIONS[model]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
