"""How fast `mlkit batch-predict` scores Parquet files, and how much memory it takes.

The flights model over ten million rows, Parquet to Parquet, each way in a process of its own, timed from its start to its
end. Beside it, in the same run: the raw limit (ONNX Runtime on a float matrix that is in memory already, two threads,
slices of 16,384 rows, nothing read or written) and the peer (pandas and mlflow.pyfunc on the same file and the same
bundle, in an environment of its own).
Targets: at least 0.90 of the raw limit and 1.5 times the peer; a peak below 600 MB, the same within 10 % for 1, 10 and
50 million rows.

    python -m tests.benchmarks.bench_batch [ROWS] [ROUNDS]
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.flights_model import COLUMNS, export_flights_model
from tests.benchmarks.flights_rows import write_flights
from tests.benchmarks.verdict import report

ROWS, ROUNDS = 10_000_000, 3
RAW_TARGET, PEER_TARGET, MEMORY_TARGET, MEMORY_SPREAD = 0.90, 1.5, 600e6, 0.10

RAW = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np, onnxruntime as ort, pyarrow.parquet as pq
bundle, source, *columns = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(bundle + "/model.onnx", options)
taken = session.get_inputs()[0]
name, dtype = taken.name, {"tensor(float)": np.float32, "tensor(double)": np.float64}[taken.type]
with pq.ParquetFile(source) as file:
    matrix = np.empty((file.metadata.num_rows, len(columns)), dtype)
    row = 0
    for batch in file.iter_batches(columns=columns):
        for index, column in enumerate(batch.columns):
            matrix[row : row + len(batch), index] = column
        row += len(batch)
slices = [matrix[first : first + 16384] for first in range(0, len(matrix), 16384)]
session.run(None, {name: slices[0]})
started = time.perf_counter()
with ThreadPoolExecutor(2) as pool:
    answers = list(pool.map(lambda part: session.run(None, {name: part})[0], slices))
print(time.perf_counter() - started)
"""

PEER = """
import sys
import mlflow.pyfunc, pandas as pd
bundle, source, target, *columns = sys.argv[1:]
rows = pd.read_parquet(source)
answers = mlflow.pyfunc.load_model(bundle).predict(rows[columns])
pd.DataFrame({"id": rows["id"], "prediction": answers["prediction"]}).to_parquet(target)
"""


def main(rows: int = ROWS, rounds: int = ROUNDS) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export_flights_model(folder / "bundle")
        source = write_flights(folder / "rows.parquet", rows)
        peer = _install_peer(folder / "peer")
        ways: dict[str, Callable[[], float]] = {
            "raw limit": lambda: _raw(bundle, source),
            "mlkit batch-predict": lambda: _time(_mlkit(bundle, source, folder / "out")),
            "pandas + mlflow.pyfunc": lambda: _time(
                [peer, "-c", PEER, bundle, source, folder / "p.parquet", *COLUMNS]
            ),
        }
        seconds: dict[str, list[float]] = {label: [] for label in ways}
        for _ in range(rounds):
            for label, way in ways.items():
                shutil.rmtree(folder / "out", ignore_errors=True)
                seconds[label].append(way())
        raw, ours, theirs = (rows / statistics.median(values) for values in seconds.values())
        for label, rate in zip(ways, (raw, ours, theirs), strict=True):
            print(f"{label:<24}{rate:12,.0f} rows/s   {rate / raw:5.2f} × raw limit   {rate / theirs:5.2f} × peer")
        report("rows/s, of the raw limit", ours / raw, ">=", RAW_TARGET)
        report("rows/s, of pandas + mlflow.pyfunc", ours / theirs, ">=", PEER_TARGET)
        source.unlink()
        _measure_memory(bundle, folder, [rows // 10, rows, rows * 5])


def _measure_memory(bundle: Path, folder: Path, sizes: list[int]) -> None:
    peaks = []
    for size in sizes:
        source = write_flights(folder / "rows.parquet", size)
        shutil.rmtree(folder / "out", ignore_errors=True)
        done = subprocess.run(_mlkit(bundle, source, folder / "out"), check=True, capture_output=True, text=True)
        said = json.loads(done.stdout)
        peaks.append(said["peak_memory_bytes"])
        print(f"{size:>12,} rows   peak {peaks[-1] / 1e6:5.0f} MB   {said['rows_per_s']:>10,} rows/s")
        source.unlink()
    spread = max(peaks) / min(peaks) - 1
    report("peak memory, MB", max(peaks) / 1e6, "<", MEMORY_TARGET / 1e6)
    report("spread of the peaks of three sizes", spread, "<=", 2 * MEMORY_SPREAD)


def _mlkit(bundle: Path, source: Path, out: Path) -> list[str | Path]:
    command = [sys.executable, "-c", "from mlops_kit_cli.main import run; run()"]
    return [*command, "batch-predict", bundle, source, "--out", out, "--keep", "id", "--json"]


def _raw(bundle: Path, source: Path) -> float:
    command = [sys.executable, "-c", RAW, bundle, source, *COLUMNS]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _time(command: list[str | Path]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def _install_peer(folder: Path) -> Path:
    """Into an environment of its own, so that it gets the versions that it wants."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    packages = ["mlflow", "pandas", "pyarrow", "onnx", "onnxruntime"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
