"""Runs over CSV and NDJSON files, from the file to what readers see."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import mlops_kit
from mlops_kit.errors import StoppedError, UsageError
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.sources import csv, ndjson
from tests.bundles import NAMES
from tests.modes.batch.rows import Watching, make_rows, read_current, run

ROWS = 3000

WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "csv": pl.DataFrame.write_csv,
    "ndjson": pl.DataFrame.write_ndjson,
    "jsonl": pl.DataFrame.write_ndjson,
}


def job_for(bundle: Path, source: Path) -> BatchJob:
    return BatchJob(bundle, str(source), str(source.parent / "out"), keep=("id",))


@pytest.mark.parametrize("suffix", WRITERS)
def test_text_is_scored_as_its_rows_are(tmp_path: Path, bundle: Path, suffix: str) -> None:
    rows = make_rows(ROWS)
    WRITERS[suffix](rows, tmp_path / f"rows.{suffix}")
    report = run(job_for(bundle, tmp_path / f"rows.{suffix}"))
    published = read_current(tmp_path / "out")
    expected = mlops_kit.load(bundle).predict(rows)["prediction"]
    assert (report.rows, report.bad_rows) == (ROWS, 0)
    assert published["id"].to_list() == rows["id"].to_list()
    assert published["prediction"].to_numpy().tobytes() == expected.tobytes()


def test_bad_rows_of_text_are_put_aside_as_they_stand_in_the_file(tmp_path: Path, bundle: Path) -> None:
    source = tmp_path / "rows.csv"
    make_rows(ROWS).write_csv(source)
    lines = source.read_text().splitlines()
    lines[7] = "none" + lines[7][lines[7].index(",") :]
    lines[2001] = "1,2,3"
    source.write_text("\n".join(lines))
    report = run(job_for(bundle, source))
    assert report.errors is not None
    bad = pl.read_parquet(report.errors)
    assert report.rows == ROWS - 2
    assert bad["row"].to_list() == [6, 2000]
    assert bad["column"].to_list() == [NAMES[0], None]
    assert bad["record"].to_list() == [lines[7], lines[2001]]
    assert bad["reason"][0] == "text where the model takes a number"


@pytest.mark.parametrize(("suffix", "module"), [("csv", csv), ("ndjson", ndjson)])
def test_a_stopped_run_over_text_goes_on_in_the_middle_of_the_file(
    tmp_path: Path, bundle: Path, suffix: str, module: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / f"rows.{suffix}"
    rows = make_rows(ROWS)
    WRITERS[suffix](rows, source)
    monkeypatch.setattr(f"{module.__name__}.UNIT_BYTES", source.stat().st_size // 10)  # type: ignore[attr-defined]
    with pytest.raises(StoppedError):
        run(job_for(bundle, source), Watching(stop_after=1))
    report = run(job_for(bundle, source))
    assert 0 < report.units_skipped < report.units
    assert read_current(tmp_path / "out")["id"].to_list() == rows["id"].to_list()


def test_files_of_several_kinds_are_refused(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "in").mkdir()
    make_rows(3).write_csv(tmp_path / "in" / "a.csv")
    make_rows(3).write_parquet(tmp_path / "in" / "b.parquet")
    with pytest.raises(UsageError, match=r"several kinds.*'CSV', 'Parquet'.*glob"):
        run(job_for(bundle, tmp_path / "in"))
    assert run(job_for(bundle, tmp_path / "in" / "*.csv")).rows == 3


def test_what_is_no_data_file_says_what_can_be_read(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "rows.csv.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"unknown kind of file.*'\.csv'.*--sql"):
        run(job_for(bundle, tmp_path / "rows.csv.gz"))
