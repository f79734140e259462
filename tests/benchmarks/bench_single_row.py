"""What one prediction through the Python API costs above the bare `session.run`, for the flights model.

The model: LightGBM, 100 trees, 11 float columns, trained on the template's flights. Both are timed in turn on
varied rows, because the same row again and again runs faster than any real traffic.
Target: at most 25 µs above.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import polars as pl

import mlops_kit
from mlops_kit.runtimes.onnx_runtime import session_options
from tests.benchmarks.flights_model import COLUMNS, export_flights_model, read_flights
from tests.benchmarks.verdict import report

ROUNDS, ROWS = 15, 2000
TARGET_US = 25.0


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = export_flights_model(Path(folder) / "flights")
        frame = read_flights().select(COLUMNS).cast(pl.Float64).sample(ROWS, seed=0)
        rows = frame.rows(named=True)
        predictor = mlops_kit.load(bundle)
        matrices = [frame[i].to_numpy().astype(predictor.signature.tensors[0].dtype) for i in range(ROWS)]
        session = onnxruntime.InferenceSession(str(bundle / "model.onnx"), session_options())
        name = session.get_inputs()[0].name
        calls: dict[str, Callable[[int], object]] = {
            "bare session.run": lambda i: session.run(None, {name: matrices[i]}),
            "predictor.predict(row)": lambda i: predictor.predict(rows[i]),
        }
        times: dict[str, list[float]] = {label: [] for label in calls}
        for round_number in range(ROUNDS + 1):
            for label, call in calls.items():
                elapsed = _measure(call)
                if round_number:  # the first round warms up
                    times[label].append(elapsed)
    bare, ours = (statistics.median(values) for values in times.values())
    for label, value in (*zip(times, (bare, ours), strict=True), ("difference", ours - bare)):
        print(f"{label:<26}{value:8.2f} µs")
    print(f"ratio {ours / bare:.2f}")
    report("a row through the Python API, above session.run, µs", ours - bare, "<=", TARGET_US)


def _measure(call: Callable[[int], object]) -> float:
    """Microseconds per call."""
    started = time.perf_counter()
    for i in range(ROWS):
        call(i)
    return (time.perf_counter() - started) / ROWS * 1e6


if __name__ == "__main__":
    main()
