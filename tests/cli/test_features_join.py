"""`mlkit features join`, as people run it."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.cli.mlkit import COMMAND, mlkit, tree

DEFINITION = """
from mlops_kit.features import Events, count, sum
clicks = Events("clicks", key="user", time="at", history="clicks.parquet")
features = [clicks.window("1h").agg(clicks_1h=count(), spent_1h=sum("amount", default=0.0))]
"""
WORDS = ("features", "join", "--features", "features.py", "--spine", "labels.parquet", "--out", "training.parquet")
EXPECTED = [(1, 3_000_000, 2, 4.0), (2, 3_000_000, 0, 0.0)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a definition, a history and labels."""
    monkeypatch.chdir(tmp_path)
    Path("features.py").write_text(DEFINITION)
    clicks = {"user": [1, 1, 1], "at": [1_000_000, 2_000_000, 3_000_000], "amount": [1.5, 2.5, float("inf")]}
    pl.DataFrame(clicks).with_columns(pl.col("at").cast(pl.Datetime)).write_parquet("clicks.parquet")
    labels = pl.DataFrame({"user": [1, 2], "t": [3_000_000, 3_000_000]})
    labels.with_columns(pl.col("t").cast(pl.Datetime)).write_parquet("labels.parquet")
    return tmp_path


def rows() -> list[tuple[object, ...]]:
    return pl.read_parquet("training.parquet").with_columns(pl.col("t").cast(pl.Int64)).rows()


def test_a_training_set_is_written_beside_the_labels(project: Path) -> None:
    done = mlkit(*WORDS)
    assert (done.returncode, done.stdout) == (0, "training.parquet\n"), done.stderr
    assert "2 rows, 3 events read" in done.stderr
    assert rows() == EXPECTED
    assert tree(project) == ["clicks.parquet", "features.py", "labels.parquet", "training.parquet"]


def test_folders_that_are_missing_are_made(project: Path) -> None:
    done = mlkit(*WORDS, "--out", "new/folder/training.parquet")
    assert (done.returncode, done.stdout) == (0, "new/folder/training.parquet\n"), done.stderr
    assert pl.read_parquet("new/folder/training.parquet")["clicks_1h"].to_list() == [2, 0]
    assert tree(project)[-1] == "new/folder/training.parquet"


def test_json_says_what_was_read_and_what_was_left_out(project: Path) -> None:
    pl.DataFrame({"user": [None, 1], "at": [1, None], "amount": [1.0, 1.0]}).write_parquet("clicks.parquet")
    done = mlkit(*WORDS, "--json")
    document = json.loads(done.stdout)
    assert document.pop("seconds") > 0
    refused = {"'at' is null, or no time": 1, "the key 'user' is null": 1}
    facts = {"out": "training.parquet", "rows": 2, "events_read": 2, "spilled_bytes": 0}
    assert document == {**facts, "refused": {"clicks": refused}}
    assert "clicks: 1 left out, because the key 'user' is null" in done.stderr


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "arrow"])
def test_labels_may_be_in_other_files_than_parquet(suffix: str, project: Path) -> None:
    labels = pl.read_parquet("labels.parquet")
    write = {"csv": labels.write_csv, "ndjson": labels.write_ndjson, "arrow": labels.write_ipc}[suffix]
    write(f"labels.{suffix}")
    words = [*WORDS[:4], "--spine", f"labels.{suffix}", "--out", "training.parquet", "--time", "t"]
    done = mlkit(*words)
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet("training.parquet")["spent_1h"].to_list() == [4.0, 0.0]


def test_columns_of_any_type_pass_through_and_the_labels_may_be_replaced(project: Path) -> None:
    labels = pl.read_parquet("labels.parquet").with_columns(
        deep=pl.Series([[{"a": [1]}], None]), bytes=pl.Series([b"\xff", None]), empty=pl.lit(None)
    )
    labels.write_parquet("labels.parquet")
    assert mlkit(*WORDS[:-1], "labels.parquet").returncode == 0
    found = pl.read_parquet("labels.parquet")
    assert found.select(labels.columns).equals(labels)
    assert found["clicks_1h"].to_list() == [2, 0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--time", "tt"], "did you mean 't' for 'tt'?"),
        (["--out", "training.csv"], "choose a name that ends in .parquet"),
        (["--out", "labels.parquet/training.parquet"], "labels.parquet: not a folder"),
        (["--out", "new/training.parquet", "--time", "tt"], "did you mean 't' for 'tt'?"),
        (["--spine", "nothing.parquet"], "nothing.parquet: no such file"),
        (["--features", "nothing.py"], "nothing.py: no such file"),
        (["--memory", "much"], "'much' is no size"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(words: list[str], message: str, project: Path) -> None:
    Path("training.parquet").write_text("before")
    before = tree(project)
    done = mlkit(*WORDS, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert tree(project) == before
    assert Path("training.parquet").read_text() == "before"


def test_a_damaged_history_is_named(project: Path) -> None:
    Path("clicks.parquet").write_bytes(Path("clicks.parquet").read_bytes()[:-7] + b"garbage")
    done = mlkit(*WORDS)
    assert done.returncode == 2
    assert "clicks.parquet" in done.stderr
    assert "Traceback" not in done.stderr


def test_labels_larger_than_memory_give_the_same(project: Path) -> None:
    rng = np.random.default_rng(1)
    times = pl.Series(rng.integers(0, 10**11, 300_000)).cast(pl.Datetime)
    pl.DataFrame(
        {"user": rng.integers(0, 999, 300_000), "at": times, "amount": rng.normal(size=300_000)}
    ).write_parquet("clicks.parquet")
    pl.DataFrame({"user": rng.integers(0, 1200, 150_000), "t": times[:150_000]}).write_parquet("labels.parquet")
    assert mlkit(*WORDS).returncode == 0
    expected = pl.read_parquet("training.parquet")
    done = mlkit(*WORDS, "--memory", "8MB", "--json")
    document = json.loads(done.stdout)
    assert document["events_read"] > 300_000
    assert document["spilled_bytes"] > 0
    assert pl.read_parquet("training.parquet").equals(expected)


def test_ctrl_c_leaves_nothing(project: Path) -> None:
    rows = 3_000_000
    clicks = {"user": np.arange(rows) % 2 + 1, "at": np.arange(rows) % 3_000_000, "amount": np.ones(rows)}
    pl.DataFrame(clicks).with_columns(pl.col("at").cast(pl.Datetime)).write_parquet("clicks.parquet")
    before = tree(project)
    process = subprocess.Popen([*COMMAND, *WORDS, "--memory", "30MB"], stderr=subprocess.PIPE, text=True)
    try:
        while not list(project.glob(".training.parquet.*/*.events")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert stderr.endswith("interrupted\n")
    assert tree(project) == before
