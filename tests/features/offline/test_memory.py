"""Histories larger than the memory that a join may take."""

import os
import subprocess
from pathlib import Path

import numpy as np
import polars as pl

from tests.cli.mlkit import COMMAND

DEFINITION = """
from mlops_kit.features import Events, count, sum
clicks = Events("clicks", key="user", time="at", history="clicks.parquet")
features = [clicks.window("1h").agg(clicks_1h=count(), spent_1h=sum("amount"))]
"""
WORDS = ("features", "join", "--features", "features.py", "--spine", "labels.parquet", "--out", "training.parquet")
FEW, MANY, ROWS = 200_000, 5_000_000, 10_000
MOST_MORE = 150_000_000
"""Bytes. The many events alone take 200 MB as they are sorted, and twice that while they are."""


def peak_memory(folder: Path, events: int) -> int:
    """Of the whole process, which has to give the right counts."""
    times = np.arange(events) * 1000
    clicks = {"user": np.arange(events) % 500, "at": times, "amount": np.ones(events)}
    pl.DataFrame(clicks).write_parquet(folder / "clicks.parquet", row_group_size=100_000)
    asked = {"user": np.arange(ROWS) % 500, "t": np.full(ROWS, events * 1000)}
    pl.DataFrame(asked).write_parquet(folder / "labels.parquet")
    process = subprocess.Popen([*COMMAND, *WORDS, "--time", "t", "--memory", "30MB"], cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    found = pl.read_parquet(folder / "training.parquet")
    in_window = min(events, 3_600_000_000 // 1000) // 500
    assert found["clicks_1h"].unique().to_list() == [in_window]
    assert found["spent_1h"].unique().to_list() == [float(in_window)]
    return usage.ru_maxrss * 1024


def test_a_larger_history_takes_no_more_memory(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text(DEFINITION)
    few, many = (peak_memory(tmp_path, events) for events in (FEW, MANY))
    assert many - few < MOST_MORE, f"{few:,} bytes of {FEW:,} events, {many:,} of {MANY:,}"
