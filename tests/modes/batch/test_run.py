import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import mlops_kit
from mlops_kit.modes.batch import local
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.sources import ndjson
from mlops_kit.predictor import Predictor
from tests.bundles import NAMES
from tests.modes.batch.rows import Watching, out_of, read_current, run, write_rows


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("rows", [0, 1, 7, 1000, 5003])
def test_every_row_is_scored_in_order_as_it_is_alone(
    job: BatchJob, tmp_path: Path, predictor: Predictor, rows: int
) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", rows)
    report = run(replace(job, allow_empty=True))
    scored = read_current(out_of(job))
    assert (report.rows, report.scored_rows, report.bad_rows, report.is_new) == (rows, rows, 0, True)
    assert scored["id"].to_list() == frame["id"].to_list()
    assert scored.schema == {"id": pl.String, "prediction": pl.Float32}
    for index in range(0, rows, 500):
        assert predictor.predict(frame.row(index, named=True)) == {"prediction": scored["prediction"][index]}


@pytest.mark.parametrize("slice_rows", [1, 3, 64, 1000, 100_000])
def test_slicing_changes_no_bit(
    job: BatchJob, tmp_path: Path, predictor: Predictor, slice_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "SLICE_ROWS", slice_rows)
    frame = write_rows(tmp_path / "in" / "a.parquet", 300)
    run(job)
    whole = predictor.predict(frame)["prediction"]
    assert read_current(out_of(job))["prediction"].to_numpy().tobytes() == whole.tobytes()


def test_a_folder_keeps_its_shape(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "b.parquet", 3)
    write_rows(tmp_path / "in" / "day" / "a.parquet", 4)
    (tmp_path / "in" / "_SUCCESS").touch()
    shutil.copy(tmp_path / "in" / "b.parquet", tmp_path / "in" / ".hidden.parquet")
    report = run(job)
    current = (out_of(job) / "current").resolve()
    written = sorted(str(path.relative_to(current)) for path in current.rglob("*.parquet"))
    assert report.rows == 7
    assert written == ["b-000000000000.parquet", "day/a-000000000000.parquet"]


def test_a_glob_names_the_files(job: BatchJob, tmp_path: Path) -> None:
    for name in ("a1", "a2", "b1"):
        write_rows(tmp_path / "in" / f"{name}.parquet", 3)
    assert run(replace(job, input=str(tmp_path / "in" / "a*.parquet"))).rows == 6


def test_folders_of_a_partitioned_dataset_are_columns(job: BatchJob, tmp_path: Path, predictor: Predictor) -> None:
    frames = {day: write_rows(tmp_path / "in" / f"x0={day}" / "a.parquet", 4, seed=day) for day in (1, 2)}
    for day, frame in frames.items():
        frame.drop("x0").write_parquet(tmp_path / "in" / f"x0={day}" / "a.parquet")
    run(replace(job, keep=("id", "x0")))
    for day, frame in frames.items():
        scored = pl.read_parquet(out_of(job) / "current" / f"x0={day}" / "*.parquet", hive_partitioning=False)
        expected = predictor.predict(frame.with_columns(x0=pl.lit(day)))["prediction"]
        assert scored.columns == ["id", "prediction"]
        assert scored["prediction"].to_numpy().tobytes() == expected.tobytes()


def test_only_the_rows_that_meet_the_condition_are_predicted(job: BatchJob, tmp_path: Path) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 100)
    run(replace(job, where="x3 > 0 AND id <> '0-1'"))
    expected = frame.filter((pl.col("x3") > 0) & (pl.col("id") != "0-1"))
    assert read_current(out_of(job))["id"].to_list() == expected["id"].to_list()


def test_a_stored_prediction_is_found_by_its_key(job: BatchJob, tmp_path: Path, predictor: Predictor) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 100)
    report = run(replace(job, key=("id",)))
    found = mlops_kit.lookup(job.out).get(["0-17"])
    assert found is not None
    assert found.values == {"id": "0-17"} | predictor.predict(frame.row(17, named=True))
    assert found.digest == report.digest


def test_a_column_kept_twice_is_kept_once(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    run(replace(job, keep=("id", "id")))
    assert read_current(out_of(job)).columns == ["id", "prediction"]


def test_the_watcher_is_told_of_every_row(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 100)
    watching = Watching()
    run(job, watching)
    assert watching.totals["predicting"] == watching.rows["predicting"] == 100


def test_a_run_never_publishes_a_part_of_its_rows(
    job: BatchJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long lines in the beginning make the rows look fewer than they are."""
    monkeypatch.setattr(ndjson, "UNIT_BYTES", 2**20)
    random = np.random.default_rng(0)
    rows = [dict(zip(NAMES, values, strict=True)) for values in random.random((4000, len(NAMES))).tolist()]
    for number, row in enumerate(rows):
        row["id"] = str(number) + ("x" * 20_000 if number < 60 else "")
        if number % 200 == 199:
            row["x0"] = "none"
    (tmp_path / "in").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "in" / "rows.ndjson").write_text(lines)
    report = run(job)
    assert (report.rows, report.bad_rows) == (3980, 20)
