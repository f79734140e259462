"""How fast `mlkit batch-predict` is where the model costs next to nothing, and where its time goes then.

A linear model of scikit-learn on 50 columns over four million rows, Parquet to Parquet; then each stage alone, on one
thread, over the same rows. Target: at least two million rows/s.

    python -m tests.benchmarks.bench_batch_linear [ROWS] [ROUNDS]
"""

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.linear_model import LinearRegression

import mlops_kit
from mlops_kit.assembly import assemble
from mlops_kit.frames import frame_of
from mlops_kit.modes.batch.conversion import columns_of_batch
from mlops_kit.modes.batch.local import SLICE_ROWS
from mlops_kit.modes.batch.part import ROW_GROUP_ROWS
from mlops_kit.runtimes.onnx_runtime import OnnxRuntime
from tests.benchmarks.flights_rows import GROUP_ROWS
from tests.benchmarks.verdict import report

ROWS, ROUNDS, TARGET = 4_000_000, 5, 2_000_000
FORMAT: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "use_dictionary": False}
"""How predictions that are floats are written."""

NAMES = [f"x{index}" for index in range(50)]


def main(rows: int = ROWS, rounds: int = ROUNDS) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = _export_model(folder / "bundle")
        source = _write_rows(folder / "rows.parquet", rows)
        rates = []
        for _ in range(rounds):
            shutil.rmtree(folder / "out", ignore_errors=True)
            command = [sys.executable, "-c", "from mlops_kit_cli.main import run; run()", "batch-predict"]
            words = [bundle, source, "--out", folder / "out", "--json"]
            done = subprocess.run([*command, *words], check=True, capture_output=True, text=True)
            rates.append(json.loads(done.stdout)["rows_per_s"])
        rate = statistics.median(rates)
        print(f"mlkit batch-predict, 50 columns: {rate:,.0f} rows/s")
        report("rows/s, 50 columns", rate, ">=", TARGET)
        stages = _time_stages(bundle, source, folder)
        total = sum(stages.values())
        print("one thread, stage by stage:")
        for stage, seconds in stages.items():
            print(f"  {stage:<10}{seconds / rows * 1e9:7.0f} ns/row   {seconds / total:6.1%}")


def _time_stages(bundle: Path, source: Path, folder: Path) -> dict[str, float]:
    signature, runtime = mlops_kit.load(bundle).signature, OnnxRuntime(bundle / "model.onnx")
    seconds = dict.fromkeys(("read", "decode", "assemble", "run", "encode", "write"), 0.0)

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[stage] += time.perf_counter() - started

    with timed("read"):
        data = source.read_bytes()
    encoded = io.BytesIO()
    writer: Any = None
    pending: list[pa.Table] = []
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        batches = file.iter_batches(SLICE_ROWS, columns=NAMES, use_threads=False)
        while True:
            with timed("decode"):
                batch = next(batches, None)
            if batch is None:
                break
            with timed("assemble"):
                feeds = assemble(signature, columns_of_batch(batch, NAMES))
            with timed("run"):
                outputs = runtime.run(feeds)
            with timed("encode"):
                pending.append(frame_of({"prediction": np.ravel(next(iter(outputs.values())))}).to_arrow())
                writer = writer or pq.ParquetWriter(encoded, pending[0].schema, **FORMAT)
                if sum(table.num_rows for table in pending) >= ROW_GROUP_ROWS:
                    writer.write_table(pa.concat_tables(pending))
                    pending = []
    with timed("encode"):
        if pending:
            writer.write_table(pa.concat_tables(pending))
        writer.close()
    with timed("write"), (folder / "written").open("wb") as written:
        written.write(encoded.getbuffer())
        written.flush()
        os.fsync(written.fileno())
    return seconds


def _export_model(out: Path) -> Path:
    random = np.random.default_rng(0)
    rows = random.standard_normal((2000, len(NAMES))).astype(np.float32)
    sample = pl.DataFrame(rows, schema=NAMES).to_pandas()
    model = LinearRegression().fit(sample, rows @ random.standard_normal(len(NAMES)))
    mlops_kit.export(model, sample=sample, out=out)
    return out


def _write_rows(path: Path, rows: int) -> Path:
    random = np.random.default_rng(1)
    schema = pa.schema([(name, pa.float32()) for name in NAMES])
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for first in range(0, rows, GROUP_ROWS):
            values = random.standard_normal((len(NAMES), min(GROUP_ROWS, rows - first)), np.float32)
            writer.write_table(pa.Table.from_arrays([pa.array(column) for column in values], schema=schema))
    return path


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
