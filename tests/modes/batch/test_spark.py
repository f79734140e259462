import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pyspark.sql import SparkSession
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import mlops_kit
from mlops_kit import errors
from mlops_kit.errors import (
    InputError,
    MlkitError,
    StoppedError,
    StoreError,
    TooManyBadRowsError,
    UnfitRowsError,
    UsageError,
)
from mlops_kit.modes.batch import local
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.sources import parquet
from mlops_kit.modes.batch.sources.resolve import open_files
from mlops_kit.modes.batch.spark.attempt import Attempt
from mlops_kit.modes.batch.spark.failure import carry, explain
from mlops_kit.modes.batch.spark.session import open_session
from mlops_kit.modes.batch.spark.task import Assignment, UnitTask, prepare
from tests.bundles import write_bundle
from tests.cli.mlkit import COMMAND, mlkit
from tests.modes.batch.rows import Watching, make_rows, run, write_rows
from tests.servers.spark_connect import run_spark_connect
from tests.without_package import error_without

MASTER = "local[2]"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The runs of this process find it and use it."""
    with open_session(MASTER, tmp_path_factory.mktemp("spark") / "log") as session:
        yield session


@pytest.fixture(scope="module")
def connect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_spark_connect(tmp_path_factory.mktemp("connect")) as url:
        yield url


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def bundle_of_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a text and of a number that may be missing."""
    frame = make_texts(500).to_pandas()
    model = make_pipeline(
        ColumnTransformer(
            [("one-hot", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier"])],
            remainder="passthrough",
        ),
        HistGradientBoostingRegressor(max_iter=10, random_state=0),
    )
    model.fit(frame[["carrier", "delay"]], np.nan_to_num(frame["delay"]) * 2)
    out = tmp_path_factory.mktemp("bundles") / "texts"
    mlops_kit.export(model, sample=frame[["carrier", "delay"]], out=out)
    return out


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "UNIT_ROWS", 1500)
    monkeypatch.setattr(local, "SLICE_ROWS", 512)


@pytest.fixture
def job(bundle: Path, tmp_path: Path) -> BatchJob:
    return BatchJob(bundle, str(tmp_path / "in"), str(tmp_path / "spark"), keep=("id",), engine="spark")


def make_texts(rows: int) -> pl.DataFrame:
    random = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "id": [None if i % 7 == 0 else f"flight {i}" for i in range(rows)],
            "carrier": random.choice(["B6", "AA", "UA", "DL"], rows),
            "delay": random.normal(20, 10, rows).astype(np.float32),
        }
    )
    return frame.with_columns(delay=pl.when(pl.col("delay") > 15).then("delay"))


def write_plain(folder: Path) -> None:
    write_rows(folder / "a.parquet", 5003)
    write_rows(folder / "day" / "b.parquet", 0)
    write_rows(folder / "day" / "c.parquet", 7)


def write_texts(folder: Path) -> None:
    folder.mkdir()
    make_texts(4000).write_parquet(folder / "a.parquet", row_group_size=1000)


def write_partitioned(folder: Path) -> None:
    for day in (1, 2):
        frame = write_rows(folder / f"x0={day}" / "a.parquet", 2000, seed=day)
        frame.drop("x0").write_parquet(folder / f"x0={day}" / "a.parquet", row_group_size=1000)


def write_bad_rows(folder: Path) -> None:
    frame = write_rows(folder / "a.parquet", 6000)
    for row in (3, 2500, 5999):
        frame[row, "x7"] = None
    frame.write_parquet(folder / "a.parquet", row_group_size=1000)


def write_csv(folder: Path) -> None:
    folder.mkdir()
    make_rows(300).write_csv(folder / "a.csv")
    with (folder / "a.csv").open("a") as file:
        file.write("not a record\n")


CASES: dict[str, tuple[Callable[[Path], None], dict[str, object]]] = {
    "a folder": (write_plain, {}),
    "partitioned": (write_partitioned, {"keep": ("id", "x0")}),
    "bad rows": (write_bad_rows, {}),
    "a condition": (write_bad_rows, {"where": "x3 > 0 AND id <> '0-7'"}),
    "CSV": (write_csv, {}),
    "texts": (write_texts, {"keep": ("id", "carrier")}),
}


def published(out: Path | str) -> dict[str, bytes]:
    current = (Path(out) / "current").resolve()
    return {str(path.relative_to(current)): path.read_bytes() for path in sorted(current.rglob("*.parquet"))}


def bad_rows(out: Path | str) -> list[bytes]:
    return [path.read_bytes() for path in (Path(out) / "errors").glob("*")]


@pytest.mark.usefixtures("session", "small_units")
@pytest.mark.parametrize("case", CASES)
def test_the_result_is_the_local_engines_bit_for_bit(
    job: BatchJob, tmp_path: Path, case: str, bundle_of_texts: Path
) -> None:
    write, changes = CASES[case]
    write(tmp_path / "in")
    job = replace(job, bundle=bundle_of_texts if case == "texts" else job.bundle, **changes)  # type: ignore[arg-type]
    watching = Watching()
    report = run(job, watching)
    expected = run(replace(job, engine="local", out=str(tmp_path / "local")))
    assert published(job.out) == published(tmp_path / "local")
    assert bad_rows(job.out) == bad_rows(tmp_path / "local")
    assert (report.rows, report.bad_rows, report.units) == (expected.rows, expected.bad_rows, expected.units)
    assert watching.rows["predicting"] == report.rows + report.bad_rows or "where" in changes


@pytest.mark.usefixtures("session", "small_units")
def test_paths_are_relative_to_where_the_driver_was_started(
    job: BatchJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    monkeypatch.chdir(tmp_path)
    assert run(replace(job, input="in", out="out")).rows == 10


@pytest.mark.usefixtures("session", "small_units")
@pytest.mark.parametrize(("first", "second"), [("local", "spark"), ("spark", "local")])
def test_a_run_that_one_engine_was_stopped_in_is_gone_on_with_by_the_other(
    job: BatchJob, tmp_path: Path, first: str, second: str
) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 30_000)
    with pytest.raises(StoppedError):
        run(replace(job, engine=first), Watching(stop_after=1))
    assert not (tmp_path / "spark" / "current").exists()
    report = run(replace(job, engine=second))
    assert 0 < report.units_skipped < report.units
    run(replace(job, engine="local", out=str(tmp_path / "local")))
    assert published(job.out) == published(tmp_path / "local")


@pytest.mark.usefixtures("session", "small_units")
def test_nothing_of_the_executors_is_left_behind(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 3000)
    run(job)
    runs = next((tmp_path / "spark" / ".mlkit" / "runs").iterdir())
    assert [path.name for path in runs.iterdir()] == ["journal.jsonl"]


@pytest.mark.usefixtures("session")
def test_the_first_bad_row_ends_the_run_with_the_local_engines_words(job: BatchJob, tmp_path: Path) -> None:
    write_bad_rows(tmp_path / "in")
    said = []
    for engine in ("spark", "local"):
        with pytest.raises(UnfitRowsError) as caught:
            run(replace(job, engine=engine, stops_at_bad_row=True))
        said.append((type(caught.value), str(caught.value), caught.value.fix))
    assert said[0] == said[1]
    assert not (tmp_path / "spark" / "current").exists()


@pytest.mark.usefixtures("session")
def test_a_file_that_has_changed_is_not_scored(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)

    class Changing(Watching):
        def stage(self, name: str, total_rows: int | None) -> None:
            super().stage(name, total_rows)  # type: ignore[arg-type]
            write_rows(tmp_path / "in" / "a.parquet", 10, seed=1)

    with pytest.raises(InputError, match=r"a\.parquet: changed while it was read"):
        run(job, Changing())


@pytest.mark.usefixtures("session")
def test_a_hopeless_input_ends_the_job_early(job: BatchJob, tmp_path: Path) -> None:
    for index in range(120):
        frame = make_rows(20).with_columns(x7=pl.lit(None, pl.Float32))
        (tmp_path / "in").mkdir(exist_ok=True)
        frame.write_parquet(tmp_path / "in" / f"{index:03}.parquet")
    watching = Watching()
    with pytest.raises(TooManyBadRowsError):
        run(job, watching)
    assert watching.rows["predicting"] < 2400


def test_all_tasks_of_a_process_share_one_session(session: SparkSession, bundle: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    source = open_files(str(tmp_path / "in"), mlops_kit.load(bundle).signature, ())
    (tmp_path / "attempt").mkdir()
    (tmp_path / "attempt" / "bundle").symlink_to(bundle)
    units = [(unit, unit.part) for unit in source.units]
    task = UnitTask(Assignment(Attempt(tmp_path / "attempt"), tmp_path, source, units, (), None, False, 100))

    def sessions(batches: Iterator[object]) -> Iterator[object]:
        import pyarrow as pa

        for _ in batches:
            yield pa.RecordBatch.from_pydict({"process": [os.getpid()], "scorer": [id(prepare(task._pickled)[1])]})

    rows = session.range(0, 20, 1, 20).mapInArrow(sessions, "process long, scorer long").collect()
    assert len(rows) == 20
    assert len({tuple(row) for row in rows}) == len({row.process for row in rows}) <= 2


def every_error() -> list[MlkitError]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MlkitError)]
    made = [kind.__new__(kind) for kind in kinds]
    for error in made:
        MlkitError.__init__(error, f'a "{error.__class__.__name__}"\nin two lines {{', "because of é", "mend it")
    return made


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_an_error_comes_back_from_an_executor_as_it_was(error: MlkitError) -> None:
    back = explain(
        RuntimeError(f"Traceback (most recent call last):\n{carry(error)}\n\tat org.apache.spark"), None
    )
    assert (type(back), str(back), back.what, back.why, back.fix) == (
        type(error), str(error), error.what, error.why, error.fix,
    )  # fmt: skip


FAILURES = [
    (
        "raise ModuleNotFoundError(\"No module named 'mlops_kit'\")",
        UsageError,
        r"pip install 'mlops-kit\[spark\]'",
    ),
    ("raise ValueError('some reason')", StoreError, "the Spark job failed. ValueError: some reason. run the same"),
    ("os._exit(1)", StoreError, "the Spark job failed. .*worker exited unexpectedly"),
]


@pytest.mark.parametrize(("statement", "kind", "message"), FAILURES)
def test_a_failed_job_is_explained_in_a_few_words(
    session: SparkSession, statement: str, kind: type[MlkitError], message: str
) -> None:
    def fail(batches: object) -> Iterator[object]:
        exec(statement, {"os": os})
        yield

    with pytest.raises(Exception) as caught:
        session.range(1).mapInArrow(fail, "nothing int").collect()
    explained = explain(caught.value, Path("spark.log"))
    assert type(explained) is kind
    assert re.search(message, str(explained))
    assert len(str(explained)) < 400


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"threads": 2}, "--threads is not for Spark"), ({"engine": "sparc"}, "no such engine")],
)
def test_what_goes_not_together_is_refused(job: BatchJob, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(replace(job, **changes))  # type: ignore[arg-type]


def test_without_pyspark_the_extra_is_named() -> None:
    said = error_without(
        ["pyspark"], "from mlops_kit.modes.batch.engines import find_engine\nfind_engine('spark')"
    )
    assert "MissingExtraError" in said
    assert "mlops-kit[spark]" in said


def test_without_java_the_error_says_so(job: BatchJob, tmp_path: Path) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    words = ["batch-predict", job.bundle, job.input, "--out", job.out, "--engine", "spark"]
    done = mlkit(*words, JAVA_HOME="/nowhere")
    assert done.returncode == 2
    assert "Spark does not start" in done.stderr
    assert "install Java 17" in done.stderr


def test_ctrl_c_is_left_to_whom_it_was(session: SparkSession) -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def spark_command(job: BatchJob, master: str) -> list[str]:
    words = ["batch-predict", job.bundle, job.input, "--out", job.out, "--keep", "id", "--json"]
    return [*COMMAND, *map(str, words), "--engine", "spark", "--master", master]


def write_many(folder: Path) -> None:
    for index in range(30):
        write_rows(folder / f"{index:02}.parquet", 50, seed=index)


def wait_for_units(out: Path, count: int, process: "subprocess.Popen[str]") -> None:
    while process.poll() is None:
        journals = [*(out / ".mlkit" / "runs").glob("*/journal.jsonl")]
        if journals and journals[0].read_bytes().count(b"\n") > count:
            return
        time.sleep(0.01)
    raise AssertionError(f"the run ended too early: {process.communicate()}")


def test_a_killed_driver_loses_only_what_was_running(job: BatchJob, tmp_path: Path) -> None:
    write_many(tmp_path / "in")
    command = spark_command(job, MASTER)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as killed:
        wait_for_units(tmp_path / "spark", 3, killed)
        killed.kill()
    assert not (tmp_path / "spark" / "current").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert 3 <= report["units_skipped"] < report["units"]
    run(replace(job, engine="local", out=str(tmp_path / "local")))
    assert published(job.out) == published(tmp_path / "local")
    assert not re.search("WARN|Spark|Warning", again.stderr), again.stderr


def test_on_spark_connect_a_signal_stops_and_the_rest_is_done_by_a_rerun(
    job: BatchJob, tmp_path: Path, connect_url: str
) -> None:
    write_many(tmp_path / "in")
    command = spark_command(job, connect_url)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as stopped:
        wait_for_units(tmp_path / "spark", 1, stopped)
        stopped.send_signal(signal.SIGINT)
        said = stopped.communicate()[1]
        assert stopped.returncode == 130, said
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["units_skipped"] > 0
    run(replace(job, engine="local", out=str(tmp_path / "local")))
    assert published(job.out) == published(tmp_path / "local")


def test_on_spark_connect_an_error_comes_back_as_it_was(job: BatchJob, tmp_path: Path, connect_url: str) -> None:
    write_bad_rows(tmp_path / "in")
    done = subprocess.run(
        [*spark_command(job, connect_url), "--errors", "fail"], capture_output=True, text=True, check=False
    )
    with pytest.raises(UnfitRowsError) as caught:
        run(replace(job, engine="local", stops_at_bad_row=True))
    assert done.returncode == 1
    assert caught.value.what in done.stderr
    assert "Traceback" not in done.stderr
