from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_kit.errors import StoppedError, TooManyBadRowsError, UnfitRowsError
from mlops_kit.modes.batch.job import BatchJob
from tests.modes.batch.rows import Watching, out_of, read_current, run, write_rows


def test_bad_rows_are_put_aside_with_the_reason(job: BatchJob, tmp_path: Path) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 1000)
    frame[345, "x7"] = None
    frame[999, "x9"] = None
    frame.write_parquet(tmp_path / "in" / "a.parquet")
    report = run(job)
    assert report.errors is not None
    bad = pl.read_parquet(report.errors)
    assert bad.select("row", "column", "reason").rows() == [
        (345, "x7", "a missing value where the model takes a number"),
        (999, "x9", "a missing value where the model takes a number"),
    ]
    assert bad["source"].unique().to_list() == [str(tmp_path / "in" / "a.parquet")]
    assert '"id":"0-345"' in bad["record"][0]
    assert (report.rows, report.bad_rows) == (998, 2)
    assert read_current(out_of(job))["id"].to_list() == [f"0-{i}" for i in range(1000) if i not in (345, 999)]


@pytest.mark.usefixtures("small_units")
def test_bad_rows_are_numbered_within_their_file(job: BatchJob, tmp_path: Path) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 5000)
    frame[4321, "x7"] = None
    frame.write_parquet(tmp_path / "in" / "a.parquet", row_group_size=1000)
    report = run(replace(job, where="id <> '0-7'"))
    assert report.errors is not None
    assert pl.read_parquet(report.errors)["row"].to_list() == [4321]


def test_too_many_bad_rows_publish_nothing_and_a_rerun_may_allow_them(job: BatchJob, tmp_path: Path) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 100)
    frame[5, "x7"] = None
    frame[6, "x7"] = None
    frame.write_parquet(tmp_path / "in" / "a.parquet")
    with pytest.raises(TooManyBadRowsError, match=r"2 of 100.*mostly column 'x7': a missing value"):
        run(job)
    assert not (out_of(job) / "current").exists()
    assert len(pl.read_parquet(out_of(job) / "errors" / "*.parquet")) == 2
    report = run(replace(job, most_bad=0.02))
    assert (report.rows, report.scored_rows, report.units_skipped) == (98, 0, 1)


def test_a_hopeless_input_ends_the_run_early(job: BatchJob, tmp_path: Path) -> None:
    for index in range(40):
        frame = write_rows(tmp_path / "in" / f"{index:02}.parquet", 20)
        frame.with_columns(x7=pl.lit(None, pl.Float32)).write_parquet(tmp_path / "in" / f"{index:02}.parquet")
    watching = Watching()
    with pytest.raises(TooManyBadRowsError):
        run(job, watching)
    assert watching.rows["predicting"] < 800


def test_the_first_bad_row_ends_the_run_if_asked_to(job: BatchJob, tmp_path: Path) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 1000)
    frame[345, "x7"] = None
    frame.write_parquet(tmp_path / "in" / "a.parquet")
    with pytest.raises(UnfitRowsError, match=r"a\.parquet: column 'x7': a missing value.*row 345 of the file"):
        run(replace(job, stops_at_bad_row=True))
    assert not (out_of(job) / "current").exists()


@pytest.mark.usefixtures("small_units")
def test_the_first_bad_row_is_numbered_within_its_file_also_by_a_run_that_goes_on(
    job: BatchJob, tmp_path: Path
) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 9000)
    frame[8765, "x7"] = None
    frame.write_parquet(tmp_path / "in" / "a.parquet", row_group_size=1000)
    with pytest.raises(StoppedError):
        run(job, Watching(stop_after=1))
    with pytest.raises(UnfitRowsError, match="row 8765 of the file"):
        run(replace(job, stops_at_bad_row=True))


def test_a_file_of_bad_rows_is_replaced_by_the_next_one(job: BatchJob, tmp_path: Path) -> None:
    chosen = replace(job, errors=tmp_path / "bad" / "rows.parquet", most_bad=0.5)
    for number in (3, 4):
        frame = write_rows(tmp_path / "in" / "a.parquet", 10)
        frame[number, "x7"] = None
        frame.write_parquet(tmp_path / "in" / "a.parquet")
        run(chosen)
        assert pl.read_parquet(tmp_path / "bad" / "rows.parquet")["row"].to_list() == [number]


def test_text_that_is_not_utf8_is_a_bad_row(job: BatchJob, tmp_path: Path) -> None:
    table = write_rows(tmp_path / "in" / "a.parquet", 200).drop("id").to_arrow()
    words = [b"fine"] * 199 + [b"caf\xe9"]
    offsets = np.cumsum([0, *map(len, words)]).astype(np.int32)
    ids = pa.Array.from_buffers(pa.string(), 200, [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(words))])
    pq.write_table(table.append_column("id", ids), tmp_path / "in" / "a.parquet")
    report = run(job)
    assert report.errors is not None
    bad = pl.read_parquet(report.errors)
    assert bad.select("row", "column").rows() == [(199, "id")]
    assert r"caf\\xe9" in bad["record"][0]
    assert report.rows == 199
