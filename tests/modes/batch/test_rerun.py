"""What a run finds of those before it: finished units, generations, and what somebody has broken."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import mlops_kit
from mlops_kit.errors import StoppedError, StoreError
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.predictor import Predictor
from tests.modes.batch.rows import Watching, out_of, read_current, run, write_rows


def test_a_rerun_with_nothing_to_do_says_so(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 100)
    first = run(job)
    again = run(job)
    assert (again.is_new, again.generation, again.units_skipped, again.scored_rows) == (
        False, first.generation, 1, 0,
    )  # fmt: skip


def test_fresh_predicts_everything_anew(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 100)
    first = run(job)
    again = run(replace(job, fresh=True))
    assert (again.is_new, again.scored_rows, again.generation != first.generation) == (True, 100, True)


@pytest.mark.usefixtures("small_units")
def test_a_stopped_run_is_gone_on_with(job: BatchJob, tmp_path: Path) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 9000)
    with pytest.raises(StoppedError):
        run(job, Watching(stop_after=1))
    assert not (out_of(job) / "current").exists()
    report = run(job)
    assert 0 < report.units_skipped < report.units
    assert report.scored_rows < 9000
    assert read_current(out_of(job))["id"].to_list() == frame["id"].to_list()


@pytest.mark.usefixtures("small_units")
def test_a_damaged_part_of_a_stopped_run_is_made_anew(job: BatchJob, tmp_path: Path, predictor: Predictor) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 9000)
    with pytest.raises(StoppedError):
        run(job, Watching(stop_after=1))
    part = next((out_of(job) / "generations").rglob("*-000000000000.parquet"))
    damaged = bytearray(part.read_bytes())
    damaged[100] ^= 1
    part.write_bytes(damaged)
    run(job)
    expected = predictor.predict(frame)["prediction"]
    assert read_current(out_of(job))["prediction"].to_numpy().tobytes() == expected.tobytes()


@pytest.mark.usefixtures("small_units")
def test_a_torn_last_line_of_the_journal_is_left_out(job: BatchJob, tmp_path: Path) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 9000)
    with pytest.raises(StoppedError):
        run(job, Watching(stop_after=1))
    journal = next(out_of(job).rglob("journal.jsonl"))
    journal.write_bytes(journal.read_bytes()[:-7])
    run(job)
    assert read_current(out_of(job))["id"].to_list() == frame["id"].to_list()


def test_only_the_files_that_changed_are_predicted_again(
    job: BatchJob, tmp_path: Path, predictor: Predictor
) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 50)
    write_rows(tmp_path / "in" / "b.parquet", 60)
    run(job)
    changed = write_rows(tmp_path / "in" / "b.parquet", 70, seed=5)
    report = run(job)
    assert (report.rows, report.scored_rows, report.units_skipped) == (120, 70, 1)
    expected = predictor.predict(changed)["prediction"]
    assert read_current(out_of(job))["prediction"][50:].to_numpy().tobytes() == expected.tobytes()


def test_another_bundle_predicts_everything_again(job: BatchJob, tmp_path: Path, other_bundle: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 50)
    run(job)
    before = read_current(out_of(job))["prediction"].to_numpy()
    report = run(replace(job, bundle=other_bundle))
    assert report.scored_rows == 50
    np.testing.assert_allclose(read_current(out_of(job))["prediction"].to_numpy(), before * 2, rtol=1e-6)


@pytest.mark.usefixtures("small_units")
def test_an_unfinished_run_of_another_bundle_is_not_gone_on_with(
    job: BatchJob, tmp_path: Path, other_bundle: Path
) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 9000)
    with pytest.raises(StoppedError):
        run(job, Watching(stop_after=1))
    assert run(replace(job, bundle=other_bundle)).units_skipped == 0
    expected = mlops_kit.load(other_bundle).predict(frame)["prediction"]
    assert read_current(out_of(job))["prediction"].to_numpy().tobytes() == expected.tobytes()


def test_a_file_that_is_gone_from_the_input_is_gone_from_the_output(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 50)
    write_rows(tmp_path / "in" / "b.parquet", 60)
    run(job)
    (tmp_path / "in" / "a.parquet").unlink()
    assert (run(job).rows, len(read_current(out_of(job)))) == (60, 60)


def test_generations_beyond_those_to_keep_are_removed(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    names = [run(replace(job, fresh=True, keep_generations=2)).generation for _ in range(3)]
    assert sorted(path.name for path in (out_of(job) / "generations").iterdir()) == names[1:]
    assert sorted(path.name for path in (out_of(job) / ".mlkit" / "runs").iterdir()) == names[1:]


def test_a_run_after_a_rollback_publishes_anew(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    first = run(job)
    write_rows(tmp_path / "in" / "a.parquet", 11)
    second = run(job)
    assert mlops_kit.lookup(job.out).rollback().name == first.generation
    third = run(job)
    assert third.generation not in (first.generation, second.generation)
    assert len(read_current(out_of(job))) == 11


def _remove_parts(folder: Path) -> None:
    for part in folder.resolve().rglob("*.parquet"):
        part.unlink()


def _damage_parts(folder: Path) -> None:
    for part in folder.resolve().rglob("*.parquet"):
        part.write_bytes(part.read_bytes() + b"x")


@pytest.mark.parametrize(("damage", "message"), [(_remove_parts, "are missing"), (_damage_parts, "are damaged")])
def test_published_files_that_are_not_whole_are_told_of_and_made_anew(
    job: BatchJob, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 100)
    job = replace(job, key=("id",))
    run(job)
    damage(out_of(job) / "current")
    with pytest.raises(StoreError, match=f"{message}.*again"):
        mlops_kit.lookup(job.out).get(["0-17"])
    assert run(job).is_new
    assert mlops_kit.lookup(job.out).get(["0-17"]) is not None
    assert read_current(out_of(job))["id"].to_list() == frame["id"].to_list()


def test_a_folder_whose_records_are_gone_is_published_to_anew(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 100)
    job = replace(job, key=("id",))
    first = run(job)
    shutil.rmtree(out_of(job) / ".mlkit")
    with pytest.raises(StoreError, match=r"has no manifest.*batch-predict again"):
        mlops_kit.lookup(job.out).get(["0-17"])
    second = run(job)
    assert mlops_kit.lookup(job.out).get(["0-17"]) is not None
    assert [path.name for path in (out_of(job) / "generations").iterdir()] == [second.generation]
    assert first.generation != second.generation


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_a_view_that_was_dropped_is_there_again_after_the_next_run(
    job: BatchJob, tmp_path: Path, scheme: str
) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 100)
    job = replace(job, out=f"{scheme}:///{tmp_path}/out.db?table=eta", work=tmp_path / "work")
    run(job)
    connect: Any = sqlite3.connect if scheme == "sqlite" else duckdb.connect
    with closing(connect(str(tmp_path / "out.db"))) as connection:
        connection.execute("DROP VIEW eta")
    run(job)
    with closing(connect(str(tmp_path / "out.db"))) as connection:
        assert connection.execute("SELECT count(*) FROM eta").fetchall() == [(100,)]


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_a_generation_that_was_dropped_is_predicted_anew(job: BatchJob, tmp_path: Path, scheme: str) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 100)
    job = replace(job, out=f"{scheme}:///{tmp_path}/out.db?table=eta", work=tmp_path / "work")
    first = run(job)
    connect: Any = sqlite3.connect if scheme == "sqlite" else duckdb.connect
    with closing(connect(str(tmp_path / "out.db"))) as connection:
        connection.execute(f"DROP TABLE eta__{first.generation}")
    assert run(job).is_new
    with closing(connect(str(tmp_path / "out.db"))) as connection:
        assert connection.execute("SELECT count(*) FROM eta").fetchall() == [(100,)]


def test_fewer_generations_are_kept_also_if_there_is_nothing_to_do(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    names = [run(replace(job, fresh=True)).generation for _ in range(2)]
    assert not run(replace(job, keep_generations=1)).is_new
    assert [path.name for path in (out_of(job) / "generations").iterdir()] == names[1:]
