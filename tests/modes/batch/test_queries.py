"""Rows out of databases and pipes, from the query to what readers see."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from adbc_driver_postgresql import dbapi

import mlops_kit
from mlops_kit.errors import InputError, MlkitError, StoppedError, StoreError, UnfitRowsError, UsageError
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.sources import parquet
from tests.bundles import NAMES
from tests.cli.mlkit import mlkit
from tests.modes.batch.rows import Watching, make_rows, read_current, run
from tests.servers.postgres import PostgresServer

ROWS = 3000


@pytest.fixture
def job(bundle: Path, tmp_path: Path, rows: pl.DataFrame) -> BatchJob:
    sql = f"SELECT * FROM '{tmp_path}/rows.parquet'"
    return BatchJob(bundle, "", str(tmp_path / "out"), keep=("id",), sql=sql)


def fill(connection: sqlite3.Connection, rows: pl.DataFrame) -> None:
    connection.execute(f"CREATE TABLE flights ({', '.join(rows.columns)})")
    marks = ", ".join("?" * rows.width)
    connection.executemany(f"INSERT INTO flights VALUES ({marks})", rows.rows())
    connection.commit()


@pytest.fixture
def sqlite_file(tmp_path: Path, rows: pl.DataFrame) -> Path:
    path = tmp_path / "warehouse.db"
    with sqlite3.connect(path) as connection:
        fill(connection, rows)
    return path


def check(job: BatchJob, rows: pl.DataFrame) -> None:
    """These rows were published, in this order, as they are predicted alone."""
    expected = mlops_kit.load(job.bundle).predict(rows)["prediction"]
    published = read_current(Path(job.out))
    assert published["id"].to_list() == rows["id"].to_list()
    assert published["prediction"].to_numpy().tobytes() == expected.tobytes()


def test_sql_says_which_rows_in_which_order(job: BatchJob, rows: pl.DataFrame) -> None:
    report = run(replace(job, sql=f"{job.sql} WHERE x0 > 0 ORDER BY x1"))
    expected = rows.filter(pl.col("x0") > 0).sort("x1")
    assert report.rows == len(expected)
    check(job, expected)


def test_statements_before_the_query_are_carried_out(job: BatchJob, rows: pl.DataFrame) -> None:
    run(replace(job, sql=f"CREATE TEMP TABLE ten AS {job.sql} LIMIT 10; FROM ten"))
    check(job, rows.head(10))


def test_decimals_and_large_sums_are_numbers(job: BatchJob, rows: pl.DataFrame) -> None:
    columns = ", ".join(f"(sum(x0) OVER (ORDER BY id) * 0 + 1.5)::DECIMAL(30, 2) AS {name}" for name in NAMES[1:])
    run(replace(job, sql=f"SELECT id, sum(1) OVER () AS x0, {columns} FROM ({job.sql})"))
    same = {"x0": np.full(ROWS, ROWS, np.float32)} | {name: np.full(ROWS, 1.5, np.float32) for name in NAMES[1:]}
    published = read_current(Path(job.out))["prediction"].to_numpy()
    assert published.tobytes() == mlops_kit.load(job.bundle).predict(same)["prediction"].tobytes()


def test_the_same_answer_again_is_nothing_to_do(job: BatchJob) -> None:
    first, again = run(job), run(job)
    assert (first.is_new, again.is_new) == (True, False)


def test_another_answer_is_predicted(job: BatchJob, tmp_path: Path) -> None:
    run(job)
    others = make_rows(50, seed=1)
    others.write_parquet(tmp_path / "rows.parquet")
    assert run(job).is_new
    check(job, others)


def test_a_stopped_run_goes_on_with_the_rows_that_it_has_read(
    job: BatchJob, rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "UNIT_ROWS", 500)
    monkeypatch.setattr("mlops_kit.modes.batch.sources.extract.spool.ROW_GROUP_ROWS", 500)
    with pytest.raises(StoppedError):
        run(job, Watching(stop_after=1))
    (tmp_path / "rows.parquet").unlink()
    report = run(job)
    assert 0 < report.units_skipped < report.units
    check(job, rows)


def test_rows_that_were_mended_are_read_again(job: BatchJob, tmp_path: Path, rows: pl.DataFrame) -> None:
    pl.concat([rows, rows.head(1)]).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(UnfitRowsError, match="does not tell the rows apart"):
        run(replace(job, key=("id",)))
    rows.write_parquet(tmp_path / "rows.parquet")
    run(replace(job, key=("id",)))
    check(job, rows)


def test_pivoted_rows_are_rows(job: BatchJob, rows: pl.DataFrame) -> None:
    before = f"CREATE TEMP TABLE all_rows AS {job.sql}; "
    long = "SELECT id, name, value FROM all_rows UNPIVOT (value FOR name IN (COLUMNS('^x')))"
    run(replace(job, sql=f"{before} PIVOT ({long}) ON name USING first(value) GROUP BY id ORDER BY id"))
    check(job, rows.sort("id"))


def test_nothing_is_left_of_the_copy(job: BatchJob) -> None:
    run(job)
    assert not (Path(job.out) / ".mlkit" / "extract").exists()
    with pytest.raises(UsageError):
        run(replace(job, sql="SELECT nothing"))
    assert not (Path(job.out) / ".mlkit" / "extract").exists()


REFUSED_SQL = {
    "no SQL": ("SELEC 1", UsageError, "cannot be carried out.*syntax error"),
    "only a comment": ("-- nothing", UsageError, "empty"),
    "no query": ("CREATE TABLE t (i INT)", UsageError, "gives no rows"),
    "a file that is not there": ("FROM 'nothing.parquet'", StoreError, "nothing.parquet"),
    "a table that is not there": ("FROM nothing", UsageError, "nothing does not exist"),
    "two queries": ("SELECT 1; SELECT 2", UsageError, "several queries"),
    "a name twice": ("SELECT 1 AS x0, 2 AS x0", UsageError, "two columns are called 'x0'"),
    "other columns": ("SELECT 1 AS y", InputError, "missing columns.*'x0'"),
    "a cast that fails late": (
        "SELECT CAST(CASE WHEN i = 300000 THEN 'top secret' ELSE '1' END AS INT) AS x0 FROM range(400000) r(i)",
        UsageError, "TRY_CAST",
    ),
    "a constraint": (
        "CREATE TABLE t (i INT PRIMARY KEY); INSERT INTO t VALUES (4711), (4711); FROM t", UsageError, "on a value",
    ),
    "a database that cannot be attached": (
        "ATTACH 'nothing/secret.db?password=secret' AS other; SELECT 1 AS x0", StoreError, "cannot attach",
    ),
    "a cast that fails": ("SELECT 'top secret'::INT AS x0", UsageError, "TRY_CAST"),
    "too little memory": (
        "SELECT list(i) AS x0 FROM range(100000000) r(i)", StoreError, "more memory.*--memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "error", "message"), REFUSED_SQL.values(), ids=REFUSED_SQL)
def test_what_duckdb_refuses_says_why(job: BatchJob, sql: str, error: type[MlkitError], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}") as raised:
        run(replace(job, sql=sql, memory_bytes=50_000_000))
    assert not re.search("secret|4711", str(raised.value))
    assert not (Path(job.out) / "current").exists()


def test_a_query_that_gives_no_row_yet_is_interrupted(job: BatchJob) -> None:
    class Impatient(Watching):
        def should_stop(self) -> bool:
            return "reading" in self.totals

    with pytest.raises(StoppedError, match="still reading"):
        run(replace(job, sql="SELECT count(*) FROM range(1000000000000) r(i) WHERE hash(i) = 3"), Impatient())


@pytest.fixture
def duckdb_file(tmp_path: Path, rows: pl.DataFrame) -> Path:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(path) as connection:
        connection.sql(f"CREATE TABLE flights AS FROM '{tmp_path}/rows.parquet'")
    return path


@pytest.mark.parametrize("sql", ["", "SELECT * FROM flights"])
def test_a_duckdb_file_is_read(job: BatchJob, duckdb_file: Path, rows: pl.DataFrame, sql: str) -> None:
    run(replace(job, input=f"duckdb:///{duckdb_file}{'' if sql else '?table=flights'}", sql=sql))
    check(job, rows)


@pytest.mark.parametrize("sql", ["", "SELECT * FROM flights ORDER BY rowid"])
def test_a_sqlite_file_is_read(job: BatchJob, sqlite_file: Path, rows: pl.DataFrame, sql: str) -> None:
    source = replace(job, input=f"sqlite:///{sqlite_file}{'' if sql else '?table=flights'}", sql=sql)
    assert run(source).is_new
    check(job, rows)
    assert not run(source).is_new


def test_values_that_do_not_belong_into_a_column_of_sqlite_are_bad_rows(
    job: BatchJob, sqlite_file: Path, rows: pl.DataFrame
) -> None:
    with sqlite3.connect(sqlite_file) as connection:
        connection.execute("UPDATE flights SET x0 = 'none' WHERE rowid = 3")
        connection.execute("UPDATE flights SET id = CAST(x'ff41' AS TEXT) WHERE rowid = 5")
        connection.execute("UPDATE flights SET x1 = 9e999 WHERE rowid = 8")
    report = run(replace(job, input=f"sqlite:///{sqlite_file}?table=flights", sql=""))
    assert report.errors is not None
    bad = pl.read_parquet(report.errors)
    assert bad["row"].to_list() == [2, 4, 7]
    assert bad["column"].to_list() == ["x0", None, "x1"]
    assert "not UTF-8" in bad["reason"][1]
    check(job, rows.with_row_index().filter(~pl.col("index").is_in([2, 4, 7])).drop("index"))


@pytest.mark.parametrize("sql", ["", "SELECT * FROM flights ORDER BY id DESC"])
def test_a_table_of_postgresql_is_read(
    job: BatchJob, rows: pl.DataFrame, postgres_server: PostgresServer, sql: str
) -> None:
    with postgres_server.new_database() as database:
        url = postgres_server.url(database)
        with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("flights", rows.to_arrow())
        run(replace(job, input=f"{url}{'' if sql else '?table=flights'}", sql=sql))
    check(job, rows.sort("id", descending=True) if sql else rows)


def test_a_query_of_sqlite_without_rows_has_its_columns(job: BatchJob, sqlite_file: Path) -> None:
    source = replace(job, input=f"sqlite:///{sqlite_file}")
    assert run(replace(source, sql="SELECT * FROM flights WHERE false", allow_empty=True)).rows == 0
    with pytest.raises(InputError, match=r"missing columns.*'x0'"):
        run(replace(source, sql="SELECT id FROM flights"))


REFUSED_IN_POSTGRESQL = {
    "SELECT 'top secret'::int AS x0": "--sql fails on a value",
    "SELECT 1 / (x0 - x0) AS x0 FROM flights": "failed in the middle.*psql",
    "SELECT nothing FROM flights": "nothing.*does not exist",
    "SELEC 1": "syntax error",
}


@pytest.mark.parametrize(("sql", "message"), REFUSED_IN_POSTGRESQL.items(), ids=REFUSED_IN_POSTGRESQL)
def test_what_postgresql_refuses_says_why(
    job: BatchJob, rows: pl.DataFrame, postgres_server: PostgresServer, sql: str, message: str
) -> None:
    with postgres_server.new_database() as database:
        url = postgres_server.url(database)
        with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("flights", rows.to_arrow())
        with pytest.raises(MlkitError, match=message):
            run(replace(job, input=url, sql=sql))


REFUSED_INPUTS = {
    "sqlite:///nothing.db?table=t": "nothing.db: no such file",
    "duckdb:///nothing.duckdb?table=t": "nothing.duckdb: no such file",
    "sqlite:///{folder}/warehouse.db": "which table",
    "duckdb:///{folder}/warehouse.duckdb?table=flihgts": "warehouse.duckdb.table=flihgts cannot be carried out",
    "sqlite:///{folder}/warehouse.db?table=nothing": "no such table",
    "mysql://host/database?table=t": "mysql.*sqlite",
    "s3://bucket/rows.parquet": "--sql|query",
    "{folder}/warehouse.db": "sqlite:///.*table=NAME",
}


@pytest.mark.parametrize(("source", "message"), REFUSED_INPUTS.items(), ids=REFUSED_INPUTS)
@pytest.mark.usefixtures("sqlite_file", "duckdb_file")
def test_a_database_that_cannot_be_read_says_why(job: BatchJob, tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(replace(job, input=source.format(folder=tmp_path), sql=""))


def test_files_and_sql_do_not_go_together(job: BatchJob, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is --sql.*name it in the query"):
        run(replace(job, input=str(tmp_path / "rows.parquet")))


@pytest.fixture
def s3_bucket() -> Iterator[str]:
    """The URL of an S3 server with a bucket `flights`."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def test_files_on_s3_are_read_with_the_usual_credentials(
    bundle: Path, tmp_path: Path, rows: pl.DataFrame, s3_bucket: str
) -> None:
    from pyarrow import fs

    s3 = fs.S3FileSystem(endpoint_override=s3_bucket, access_key="a", secret_key="b", allow_bucket_creation=True)
    s3.create_dir("flights")
    for number in range(2):
        with s3.open_output_stream(f"flights/2013/{number}.parquet") as file:
            file.write((tmp_path / "rows.parquet").read_bytes())
    done = mlkit(
        "batch-predict", bundle, "--sql", "SELECT * FROM 's3://flights/2013/*.parquet'", "--out", tmp_path / "out",
        "--keep", "id", AWS_ENDPOINT_URL=s3_bucket, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b",
        AWS_REGION="us-east-1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_current(tmp_path / "out")["id"].to_list() == rows["id"].to_list() * 2


@pytest.mark.parametrize(
    "url", ["postgresql://user:secret@h/d?table=t", "postgresql://h/d?table=t&password=secret"]
)
@pytest.mark.parametrize("word", ["--out", "INPUT"])
def test_a_password_on_the_command_line_is_refused(bundle: Path, tmp_path: Path, word: str, url: str) -> None:
    words = ["rows.parquet", "--out", url] if word == "--out" else [url, "--out", tmp_path / "out"]
    done = mlkit("batch-predict", bundle, *words)
    assert done.returncode == 2
    assert "MLKIT_PASSWORD" in done.stderr
    assert "secret" not in done.stderr


def test_a_password_in_the_environment_is_not_refused(bundle: Path, tmp_path: Path, rows: pl.DataFrame) -> None:
    url = "postgresql://user:secret@127.0.0.1:1/database?table=t"
    done = mlkit("batch-predict", bundle, tmp_path / "rows.parquet", MLKIT_BATCH_PREDICT_OUT=url)
    assert "PostgreSQL failed" in done.stderr
    assert "secret" not in done.stderr
