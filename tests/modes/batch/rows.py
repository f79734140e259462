"""Rows for the small bundle, in Parquet files, and runs over them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from mlops_kit.modes.batch.job import BatchJob, BatchReport
from mlops_kit.modes.batch.run import run_batch
from tests.bundles import NAMES


def make_rows(rows: int, seed: int = 0) -> pl.DataFrame:
    """Random features, and an `id` that names each row."""
    random = np.random.default_rng(seed)
    frame = pl.DataFrame({name: random.standard_normal(rows).astype(np.float32) for name in NAMES})
    return frame.with_columns(id=pl.Series([f"{seed}-{i}" for i in range(rows)], dtype=pl.String))


def write_rows(path: Path, rows: int, seed: int = 0) -> pl.DataFrame:
    """The same in a file, in row groups of 1000."""
    frame = make_rows(rows, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path, row_group_size=1000)
    return frame


@dataclass
class Watching:
    """Keeps what a run tells, and stops it after `stop_after` rows."""

    stop_after: int | None = None
    rows: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)

    def stage(self, name: str, total_rows: int) -> None:
        self.totals[name] = total_rows
        self.rows[name] = 0

    def advance(self, rows: int) -> None:
        self.rows[list(self.rows)[-1]] += rows

    def should_stop(self) -> bool:
        return self.stop_after is not None and self.rows.get("predicting", 0) >= self.stop_after


def run(job: BatchJob, watching: Watching | None = None) -> BatchReport:
    return run_batch(job, watching or Watching())


def read_current(out: Path) -> pl.DataFrame:
    """What a reader of the folder gets."""
    return pl.read_parquet(sorted((out / "current").resolve().rglob("*.parquet")), hive_partitioning=False)


def out_of(job: BatchJob) -> Path:
    return Path(job.out)
