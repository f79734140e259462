import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlops_kit
from mlops_kit.errors import InputError, MlkitError, StoppedError, TooManyBadRowsError, UsageError
from mlops_kit.modes.batch import local
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.sources import ndjson, parquet
from mlops_kit.modes.batch.workspace import open_workspace
from mlops_kit.predictor import Predictor
from tests.bundles import NAMES, WEIGHTS, linear_graph, write_bundle
from tests.modes.batch.rows import Watching, read_current, run, write_rows


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "other", linear_graph(WEIGHTS * 2))


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return mlops_kit.load(bundle)


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "UNIT_ROWS", 1500)
    monkeypatch.setattr(local, "SLICE_ROWS", 512)


@pytest.fixture
def job(bundle: Path, tmp_path: Path) -> BatchJob:
    return BatchJob(bundle, str(tmp_path / "in"), str(tmp_path / "out"), keep=("id",))


def out_of(job: BatchJob) -> Path:
    return Path(job.out)


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("rows", [0, 1, 7, 1000, 5003])
def test_every_row_is_scored_in_order_as_it_is_alone(
    job: BatchJob, tmp_path: Path, predictor: Predictor, rows: int
) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", rows)
    report = run(job)
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


def test_a_second_run_on_the_same_output_is_refused(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    with open_workspace(out_of(job)), pytest.raises(UsageError, match="another run is writing there"):
        run(job)
    assert run(job).rows == 10


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
    with pytest.raises(TooManyBadRowsError, match="2 of 100"):
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
    with pytest.raises(InputError, match=r"a\.parquet: column 'x7': a missing value.*row 345"):
        run(replace(job, stops_at_bad_row=True))
    assert not (out_of(job) / "current").exists()


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
    ("ids", "message"), [(["a", "b", "a"], "2 rows have the key a"), (["a", None, "b"], "no key")]
)
def test_a_key_that_does_not_tell_rows_apart_publishes_nothing(
    job: BatchJob, tmp_path: Path, ids: list[str], message: str
) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 3).with_columns(id=pl.Series(ids))
    frame.write_parquet(tmp_path / "in" / "a.parquet")
    with pytest.raises(InputError, match=message):
        run(replace(job, key=("id",)))
    assert not (out_of(job) / "current").exists()


def test_a_stored_prediction_is_found_by_its_key(job: BatchJob, tmp_path: Path, predictor: Predictor) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 100)
    report = run(replace(job, key=("id",)))
    found = mlops_kit.lookup(job.out).get(["0-17"])
    assert found is not None
    assert found.values == {"id": "0-17"} | predictor.predict(frame.row(17, named=True))
    assert found.digest == report.digest


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


def test_chosen_files_beside_the_errors_are_left_alone(job: BatchJob, tmp_path: Path) -> None:
    frame = write_rows(tmp_path / "in" / "a.parquet", 1000)
    frame.with_columns(x0=pl.when(pl.col("id") == "0-7").then(None).otherwise("x0")).write_parquet(
        tmp_path / "in" / "a.parquet"
    )
    chosen = out_of(job) / "errors" / "bad.parquet"
    run(replace(job, errors=chosen))
    assert pl.read_parquet(chosen)["row"].to_list() == [7]


def test_a_share_that_is_none_is_refused(job: BatchJob) -> None:
    with pytest.raises(UsageError, match="no share"):
        run(replace(job, most_bad=float("nan")))
