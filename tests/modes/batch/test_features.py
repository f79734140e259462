"""A bundle with features: rows get them as of their time before they are predicted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

from mlops_kit.errors import InputError, UnfitRowsError, UsageError
from mlops_kit.exporters.export import export
from mlops_kit.features import Events, count, join, mean
from mlops_kit.modes.batch.job import BatchJob
from tests.bundles import write_bundle
from tests.modes.batch.rows import out_of, read_current, run

ROWS = 400
INPUTS = ("delay_1h", "flights_1h", "distance")


def departures(folder: Path) -> list[Any]:
    events = Events("departures", key="origin", time="at", history=folder / "departures.parquet")
    return [events.window("1h").agg(delay_1h=mean("delay", default=0.0), flights_1h=count())]


def write_departures(folder: Path, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    at = pl.Series(rng.integers(0, 86_400_000_000, 3000)).cast(pl.Datetime)
    frame = pl.DataFrame({"origin": rng.integers(0, 5, 3000), "at": at, "delay": rng.normal(10, 5, 3000)})
    frame.write_parquet(folder / "departures.parquet")


@pytest.fixture(scope="module")
def model() -> LinearRegression:
    rng = np.random.default_rng(5)
    frame = pl.DataFrame({name: rng.normal(size=50) for name in INPUTS})
    return LinearRegression().fit(frame.to_pandas(), rng.normal(size=50))


@pytest.fixture
def rows() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "id": range(ROWS),
            "origin": rng.integers(0, 6, ROWS),
            "t": pl.Series(rng.integers(0, 86_400_000_000, ROWS)).cast(pl.Datetime),
            "distance": rng.normal(size=ROWS),
        }
    )


@pytest.fixture
def job(tmp_path: Path, model: LinearRegression, rows: pl.DataFrame) -> BatchJob:
    write_departures(tmp_path)
    sample = pl.DataFrame({name: np.linspace(0, 3, 20) for name in INPUTS})
    export(model, out=tmp_path / "bundle", sample=sample, features=_definition(tmp_path))
    (tmp_path / "rows").mkdir()
    for part in range(4):
        rows[100 * part : 100 * (part + 1)].write_parquet(tmp_path / f"rows/{part}.parquet")
    return BatchJob(tmp_path / "bundle", str(tmp_path / "rows"), str(tmp_path / "out"), keep=("id", "flights_1h"))


def _definition(folder: Path) -> Path:
    path = folder / "features.py"
    path.write_text(
        "from mlops_kit.features import Events, count, mean\n"
        f"events = Events('departures', key='origin', time='at', history={str(folder / 'departures.parquet')!r})\n"
        "features = [events.window('1h').agg(delay_1h=mean('delay', default=0.0), flights_1h=count())]\n"
    )
    return path


def check(job: BatchJob, model: LinearRegression, rows: pl.DataFrame) -> None:
    joined = join(departures(Path(job.bundle).parent), rows, time="t")
    found = read_current(out_of(job)).with_columns(pl.col("id").cast(int)).sort("id")
    assert found["id"].to_list() == joined["id"].to_list()
    assert found["flights_1h"].to_list() == joined["flights_1h"].to_list()
    expected = model.predict(joined.select(INPUTS).to_pandas())
    np.testing.assert_allclose(found["prediction"], expected, rtol=1e-4, atol=1e-4)


def test_rows_are_predicted_with_the_features_of_their_time(
    job: BatchJob, model: LinearRegression, rows: pl.DataFrame
) -> None:
    assert run(job).rows == ROWS
    check(job, model, rows)


def test_a_portion_of_the_files_at_a_time_gives_the_same(
    job: BatchJob, model: LinearRegression, rows: pl.DataFrame
) -> None:
    run(replace(job, memory_bytes=50_000))
    check(job, model, rows)


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_files_without_types_are_read_as_the_definition_says(
    suffix: str, job: BatchJob, model: LinearRegression, rows: pl.DataFrame, tmp_path: Path
) -> None:
    source = tmp_path / f"rows.{suffix}"
    (rows.write_csv if suffix == "csv" else rows.write_ndjson)(source)
    run(replace(job, input=str(source), time="t"))
    check(job, model, rows)


def test_the_rows_of_a_query_get_features_too(job: BatchJob, model: LinearRegression, rows: pl.DataFrame) -> None:
    run(replace(job, input="", sql=f"SELECT * FROM '{job.input}/*.parquet' WHERE id >= 50"))
    check(job, model, rows[50:])


def test_a_feature_that_the_rows_have_is_taken_as_it_is(
    job: BatchJob, model: LinearRegression, rows: pl.DataFrame, tmp_path: Path
) -> None:
    frame = rows.with_columns(delay_1h=pl.lit(7.0))
    frame.write_parquet(tmp_path / "own.parquet")
    run(replace(job, input=str(tmp_path / "own.parquet")))
    joined = join(departures(tmp_path), rows, time="t").with_columns(delay_1h=pl.lit(7.0))
    expected = model.predict(joined.select(INPUTS).to_pandas())
    np.testing.assert_allclose(read_current(out_of(job))["prediction"], expected, rtol=1e-4, atol=1e-4)
    joined.drop("t", "origin").write_parquet(tmp_path / "all.parquet")
    run(replace(job, input=str(tmp_path / "all.parquet"), fresh=True))
    np.testing.assert_allclose(read_current(out_of(job))["prediction"], expected, rtol=1e-4, atol=1e-4)


def test_bad_rows_are_put_aside_and_the_others_keep_their_features(
    job: BatchJob, model: LinearRegression, rows: pl.DataFrame, tmp_path: Path
) -> None:
    text = rows.write_csv()
    lines = text.splitlines()
    lines[7], lines[9] = lines[7].rpartition(",")[0] + ",far", "broken"
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    report = run(replace(job, input=str(tmp_path / "rows.csv"), time="t"))
    assert (report.rows, report.bad_rows) == (ROWS - 2, 2)
    check(job, model, rows.filter(~pl.col("id").is_in([6, 8])))


def test_a_file_without_rows_is_no_reason_to_fail_elsewhere(job: BatchJob, rows: pl.DataFrame) -> None:
    rows.clear().write_parquet(Path(job.input) / "0.parquet")
    assert run(job).rows == ROWS - 100
    for file in Path(job.input).iterdir():
        rows.clear().write_parquet(file)
    with pytest.raises(UnfitRowsError, match="no row to publish"):
        run(job)
    assert run(replace(job, allow_empty=True)).rows == 0


def test_a_history_that_grew_is_a_reason_to_predict_anew(
    job: BatchJob, model: LinearRegression, rows: pl.DataFrame, tmp_path: Path
) -> None:
    assert run(job).is_new
    assert not run(job).is_new
    write_departures(tmp_path, seed=9)
    assert run(job).is_new
    check(job, model, rows)


def test_what_was_left_out_of_the_history_is_said(job: BatchJob, tmp_path: Path) -> None:
    history = pl.read_parquet(tmp_path / "departures.parquet")
    broken = history.with_columns(at=pl.when(pl.col("origin") == 0).then(None).otherwise("at"))
    broken.write_parquet(tmp_path / "departures.parquet")
    (note,) = run(job).notes
    assert "left out, because 'at' is null" in note


def test_spark_predicts_rows_that_have_their_features(
    job: BatchJob, model: LinearRegression, rows: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "joined").mkdir()
    join(departures(tmp_path), rows, time="t").write_parquet(tmp_path / "joined" / "0.parquet")
    run(replace(job, input=str(tmp_path / "joined"), engine="spark", master="local[1]"))
    check(job, model, rows)


def test_what_does_not_go_with_features_is_refused(job: BatchJob, rows: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--engine spark computes no features.*lack 'delay_1h'.*features join"):
        run(replace(job, engine="spark"))
    plain = replace(job, bundle=write_bundle(tmp_path / "plain"), keep=(), time="t")
    with pytest.raises(UsageError, match="--time t: nothing needs it"):
        run(plain)
    rows.with_columns(u="t").write_parquet(tmp_path / "two.parquet")
    with pytest.raises(UsageError, match="'t', 'u' are timestamps"):
        run(replace(job, input=str(tmp_path / "two.parquet")))
    rows.with_columns(t=None).write_parquet(tmp_path / "null.parquet")
    with pytest.raises(InputError, match="400 of the rows cannot be asked about: 't' is null"):
        run(replace(job, input=str(tmp_path / "null.parquet"), time="t"))
