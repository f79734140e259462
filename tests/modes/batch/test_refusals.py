"""What a run refuses: jobs, inputs, outputs and rows."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from mlops_kit.errors import InputError, MlkitError, UnfitRowsError, UsageError
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.workspace import open_workspace
from tests.modes.batch.rows import out_of, read_current, run, write_rows


def _drop_column(path: Path) -> None:
    pl.read_parquet(path).drop("x3").write_parquet(path)


def _change_dtype(path: Path) -> None:
    pl.read_parquet(path).with_columns(x3=pl.lit("text")).write_parquet(path)


def _timestamps(path: Path) -> None:
    pl.read_parquet(path).with_columns(x3=pl.datetime(2013, 1, 1)).write_parquet(path)


def _two_of_one_name(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.append_column("x3", table.column("x3")), path)


def _nothing(path: Path) -> None:
    pass


BAD: list[tuple[Callable[[Path], object], dict[str, object], str]] = [
    (_drop_column, {}, "missing column: 'x3'"),
    (_change_dtype, {}, "column 'x3' is text where the model takes a number"),
    (_timestamps, {}, "column 'x3' is Datetime"),
    (_two_of_one_name, {}, "two columns are called 'x3'"),
    (lambda path: path.write_bytes(b"PAR1 no"), {}, "not a readable Parquet file"),
    (lambda path: path.unlink(), {}, "no file there that mlkit reads"),
    (lambda path: shutil.rmtree(path.parent), {}, "no such file or folder"),
    (_nothing, {"keep": ("idd",)}, "did you mean 'id' for 'idd'"),
    (_nothing, {"keep": ("prediction",)}, "cannot keep 'prediction'"),
    (_nothing, {"key": ("x3",)}, "the key 'x3' is float"),
    (_nothing, {"where": "x999 > 1"}, "x999"),
    (_nothing, {"where": "x3 >"}, "--where"),
]


@pytest.mark.parametrize(("damage", "change", "message"), BAD)
def test_bad_input_is_refused_and_nothing_is_published(
    job: BatchJob, tmp_path: Path, damage: Callable[[Path], object], change: dict[str, object], message: str
) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    damage(tmp_path / "in" / "a.parquet")
    with pytest.raises(MlkitError, match=message):
        run(replace(job, **change))  # type: ignore[arg-type]
    assert not (out_of(job) / "current").exists()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "a"], "several rows have the same 'id': .* for 1 of its values"),
        (["a", None, "b"], "'id' is null in 1"),
    ],
)
def test_a_key_that_does_not_tell_rows_apart_publishes_nothing(
    job: BatchJob, tmp_path: Path, ids: list[str], message: str
) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 3).with_columns(id=pl.Series(ids))
    frame.write_parquet(tmp_path / "in" / "a.parquet")
    with pytest.raises(UnfitRowsError, match=message):
        run(replace(job, key=("id",)))
    assert not (out_of(job) / "current").exists()


def test_an_output_inside_of_the_input_is_refused(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    with pytest.raises(UsageError, match="lies inside of"):
        run(replace(job, out=str(tmp_path / "in" / "out")))


def test_a_folder_of_somebody_else_is_not_touched(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    out_of(job).mkdir()
    (out_of(job) / "precious").write_text("x")
    with pytest.raises(UsageError, match="mlkit did not make it"):
        run(job)
    assert [path.name for path in out_of(job).iterdir()] == ["precious"]


def test_a_share_that_is_none_is_refused(job: BatchJob) -> None:
    with pytest.raises(UsageError, match="no share"):
        run(replace(job, most_bad=float("nan")))


def test_a_second_run_on_the_same_output_is_refused(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    with open_workspace(out_of(job)), pytest.raises(UsageError, match="another run is writing there"):
        run(job)
    assert run(job).rows == 10


def test_times_with_a_zone_that_come_twice_are_no_key(job: BatchJob, tmp_path: Path) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 2).with_columns(at=pl.datetime(2026, 1, 1, time_zone="UTC"))
    frame.write_parquet(tmp_path / "in" / "a.parquet")
    with pytest.raises(UnfitRowsError, match="does not tell the rows apart"):
        run(replace(job, key=("at",)))


REFUSED_ERRORS = {
    "in/a.parquet": "lies inside of INPUT",
    "in/bad.parquet": "lies inside of INPUT",
    "out/errors/bad.parquet": "lies inside of --out",
    "other.parquet": "would be written over",
    "warehouse.db": "--errors fail",
    "fial": "--errors fail",
    "other.parquet/bad.parquet": "cannot be written",
}


@pytest.mark.parametrize("name", REFUSED_ERRORS)
def test_a_file_for_bad_rows_that_would_destroy_something_is_refused(
    job: BatchJob, tmp_path: Path, name: str
) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 3)
    write_rows(tmp_path / "other.parquet", 3)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    with pytest.raises(UsageError, match=REFUSED_ERRORS[name]):
        run(replace(job, errors=tmp_path / name))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_file_for_bad_rows_that_the_next_run_would_read_is_refused(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 3)
    with pytest.raises(UsageError, match="lies inside of INPUT"):
        run(replace(job, input=str(tmp_path / "in" / "*.parquet"), errors=tmp_path / "in" / "bad.parquet"))


def test_predictions_of_no_rows_are_published_only_if_that_is_asked_for(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 3)
    run(job)
    nothing = replace(job, where="false")
    with pytest.raises(UnfitRowsError, match=r"no row to publish.*--allow-empty"):
        run(nothing)
    assert len(read_current(out_of(job))) == 3
    assert run(replace(nothing, allow_empty=True)).rows == 0
    assert len(read_current(out_of(job))) == 0


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "parquet"])
def test_an_empty_file_among_others_is_no_fault(job: BatchJob, tmp_path: Path, suffix: str) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 3)
    if suffix != "parquet":
        (tmp_path / "in" / "a.parquet").unlink()
        getattr(frame, f"write_{suffix}")(tmp_path / "in" / f"a.{suffix}")
    (tmp_path / "in" / f"0.{suffix}").touch()
    assert run(job).rows == 3


def test_a_refused_run_leaves_no_folder(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 3)
    with pytest.raises(InputError):
        run(replace(job, keep=("nothing",)))
    assert not out_of(job).exists()


def test_an_output_that_is_called_like_a_file_is_refused(job: BatchJob, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"called like a file.*--out .*/predictions"):
        run(replace(job, out=str(tmp_path / "predictions.csv")))


def test_an_output_inside_of_the_bundle_is_refused(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 3)
    with pytest.raises(UsageError, match="a bundle does not change"):
        run(replace(job, out=str(Path(job.bundle) / "predictions")))


def test_where_state_cannot_be_kept_the_option_for_it_is_named(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 3)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write to .*with --work"):
        run(replace(job, out=f"sqlite:///{tmp_path}/out.db?table=eta", work=tmp_path / "file" / "work"))


def test_an_arrow_file_is_to_be_piped(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 3).write_ipc_stream(tmp_path / "rows.arrow")
    with pytest.raises(UsageError, match=r"- < .*rows.arrow"):
        run(replace(job, input=str(tmp_path / "rows.arrow")))


def test_a_pipe_with_a_name_is_no_input(job: BatchJob, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a pipe or a device"):
        run(replace(job, input=str(tmp_path / "pipe")))
