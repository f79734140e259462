"""What people type for batch predictions, what they see, and which code it ends with."""

import fcntl
import json
import os
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tests.bundles import write_bundle
from tests.cli.mlkit import COMMAND, mlkit
from tests.modes.batch.rows import make_rows

ENDLESS = "SELECT count(*) AS x0, sum(sqrt(r * s)) AS x1 FROM range(1000000) t(r), range(1000000) u(s)"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the bundle `tiny` and the files rows.parquet and rows.csv."""
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "tiny")
    rows = make_rows(20)
    rows.write_parquet("rows.parquet")
    rows.write_csv("rows.csv")
    return tmp_path


def batch(*words: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return mlkit("batch-predict", *words, **environment)


def set_defaults(text: str) -> None:
    Path("mlkit.toml").write_text(f"[batch-predict]\n{text}\n")


@pytest.mark.usefixtures("project")
def test_columns_are_repeated_or_separated_by_commas() -> None:
    words = ["--keep", "x1,x2", "--keep", "x3", "--key", "id"]
    assert batch("tiny", "rows.parquet", "--out", "out", *words).returncode == 0
    assert pl.read_parquet("out/current/*.parquet").columns == ["id", "x1", "x2", "x3", "prediction"]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("key", ['"id"', '["id", "x_text"]', '"id,x_text"'])
def test_a_setting_has_one_column_or_several(key: str) -> None:
    make_rows(20).with_columns(x_text=pl.lit("ü")).write_parquet("rows.parquet")
    set_defaults(f"key = {key}")
    assert batch("tiny", "rows.parquet", "--out", "out").returncode == 0
    values = ["0-7"] if key == '"id"' else ["0-7", "ü"]
    Path("mlkit.toml").write_text(f"[lookup]\nkey = {json.dumps(values)}\n")
    found = mlkit("lookup", "out")
    assert found.returncode == 0, found.stderr
    assert all(value in found.stdout for value in values)


@pytest.mark.usefixtures("project")
def test_defaults_do_not_stand_in_the_way_of_a_rollback() -> None:
    set_defaults('bundle = "tiny"\ninput = "rows.parquet"\nout = "out"\nfresh = true')
    first, _ = batch("--json"), batch()
    done = batch("--rollback", "out", MLKIT_BATCH_PREDICT_OUT="elsewhere")
    assert (done.returncode, done.stdout.strip()) == (0, json.loads(first.stdout)["generation"])


@pytest.mark.usefixtures("project")
def test_what_is_typed_wins_over_a_default_that_does_not_go_with_it() -> None:
    set_defaults('bundle = "tiny"\ninput = "rows.csv"\njson = true')
    done = batch("--sql", "FROM 'rows.parquet' LIMIT 3", "--out", "out")
    assert json.loads(done.stdout)["rows"] == 3
    command = [*COMMAND, "batch-predict", "--sql", "FROM 'rows.parquet'", "--out", "-"]
    assert subprocess.run(command, capture_output=True, check=False).stderr.startswith(b"20 rows")


@pytest.mark.usefixtures("project")
def test_a_default_that_goes_with_what_is_typed_stays() -> None:
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.sql("CREATE TABLE flights AS FROM 'rows.parquet'")
    set_defaults('bundle = "tiny"\ninput = "duckdb:///warehouse.duckdb"\nout = "out"')
    assert json.loads(batch("--sql", "FROM flights LIMIT 4", "--json").stdout)["rows"] == 4
    set_defaults('bundle = "tiny"\nsql = "FROM \'rows.parquet\' LIMIT 5"\nout = "out"')
    assert json.loads(batch("--json").stdout)["rows"] == 5


@pytest.mark.usefixtures("project")
def test_on_a_terminal_lines_break_between_words() -> None:
    terminal, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    words = ["batch-predict", "tiny", "rows.csv", "--out", "out", "--where", "id > 5"]
    subprocess.run([*COMMAND, *words], stderr=end, check=False)
    os.close(end)
    with os.fdopen(terminal, "rb") as file:
        shown = file.read1().decode()
    assert "columns of CSV" in " ".join(shown.split())
    assert max(map(len, shown.splitlines()[1:])) <= 40


USAGE: list[tuple[list[str], str]] = [
    (["tiny", "rows.csv", "rows.parquet", "--out", "out"], "put it into quotes"),
    (["tiny", "rows.csv", "--out", "out", "--master", "local[2]"], "--master is for Spark"),
    (["tiny", "rows.csv", "--out", "out", "--rollback", "out"], "takes nothing but OUTPUT"),
    (["tiny", "rows.csv", "--out", "out", "--where", "id > 5"], "CAST(a AS DOUBLE) > 1: columns of CSV"),
    (["tiny", "rows.csv", "--out", "out", "--errors", "fial"], "--errors fail"),
]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("words", "message"), USAGE)
def test_what_does_not_go_is_refused_with_what_does(words: list[str], message: str) -> None:
    done = batch(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def _no_rows() -> list[str]:
    return ["--where", "false"]


def _one_key_for_all() -> list[str]:
    make_rows(20).with_columns(id=pl.lit("same")).write_parquet("rows.parquet")
    return ["--key", "id"]


def _a_bad_row() -> list[str]:
    make_rows(20).with_columns(x0=pl.lit(None, pl.Float32)).write_parquet("rows.parquet")
    return ["--errors", "fail"]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("options", [_no_rows, _one_key_for_all, _a_bad_row])
def test_rows_that_may_not_be_published_exit_with_1(options: Callable[[], list[str]]) -> None:
    done = batch("tiny", "rows.parquet", "--out", "out", *options())
    assert (done.returncode, done.stdout) == (1, ""), done.stderr


@pytest.mark.usefixtures("project")
def test_what_was_predicted_before_has_no_rate() -> None:
    make_rows(20).with_columns(id=pl.lit("same")).write_parquet("rows.parquet")
    assert batch("tiny", "rows.parquet", "--out", "out", "--keep", "id", "--max-bad-rows", "0").returncode == 0
    set_defaults("")
    Path("out/current").unlink()
    Path(next(Path("out/.mlkit/runs").rglob("journal.jsonl"))).write_text(_without_completion())
    done = batch("tiny", "rows.parquet", "--out", "out", "--keep", "id")
    assert "all of them were predicted before" in done.stderr


def _without_completion() -> str:
    lines = next(Path("out/.mlkit/runs").rglob("journal.jsonl")).read_text().splitlines(keepends=True)
    return "".join(lines[:-1])


def start(*words: str, ignored: bool = False) -> "subprocess.Popen[str]":
    handler = signal.SIG_IGN if ignored else signal.default_int_handler
    pipe = subprocess.PIPE
    before = signal.signal(signal.SIGINT, handler)
    try:
        return subprocess.Popen(
            [*COMMAND, "batch-predict", *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(path: str) -> None:
    deadline = time.monotonic() + 60
    while not any(Path().glob(path)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_query_is_ended_by_the_first_signal(number: int, code: int) -> None:
    with start("tiny", "--sql", ENDLESS, "--out", "out") as process:
        wait_for("out/.mlkit/extract")
        time.sleep(0.5)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert "bug" not in error


@pytest.mark.usefixtures("project")
def test_a_signal_that_is_ignored_from_the_start_stays_so() -> None:
    with start("tiny", "--sql", ENDLESS, "--out", "out", ignored=True) as process:
        wait_for("out/.mlkit/extract")
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert process.poll() is None
        process.terminate()
        _, error = process.communicate(timeout=60)
    assert process.returncode == 143, error


@pytest.mark.usefixtures("project")
def test_who_closes_stdout_still_gets_predictions() -> None:
    command = ["bash", "-c", '"$@" >&-', "bash", *COMMAND, "batch-predict", "tiny", "rows.csv", "--out", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(pl.read_parquet("out/current/*.parquet")) == 20


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("words", [["inspect", "tiny"], ["lookup", "out", "--key", "0-1"]])
def test_a_reader_that_goes_away_is_no_error(words: list[str]) -> None:
    batch("tiny", "rows.csv", "--out", "out", "--key", "id")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, *words], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.usefixtures("project")
def test_a_result_that_cannot_be_written_is_an_error_of_stdout() -> None:
    batch("tiny", "rows.csv", "--out", "out", "--key", "id")
    with Path("/dev/full").open("w") as full:
        command = [*COMMAND, "lookup", "out", "--key", "0-1"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: stdout: cannot be written")
