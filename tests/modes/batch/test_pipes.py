"""Arrow IPC streams on stdin and stdout."""

import io
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import mlops_kit
from mlops_kit.errors import StoppedError
from mlops_kit.tables.generation import Generation, name_generation
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.cli.mlkit import COMMAND

ROWS = 3000


END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
"""https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format"""


def stream_of(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table = rows.to_arrow()
    with pa.ipc.new_stream(buffer, table.schema) as stream:
        stream.write_table(table, max_chunksize=700)
    return buffer.getvalue()


def pipe(bundle: Path, folder: Path, data: bytes, *words: str) -> "subprocess.CompletedProcess[bytes]":
    command = [*COMMAND, "batch-predict", str(bundle), *words]
    return subprocess.run(command, input=data, capture_output=True, check=False, cwd=folder, timeout=100)


def test_arrow_goes_in_and_comes_out(bundle: Path, tmp_path: Path, rows: pl.DataFrame) -> None:
    done = pipe(bundle, tmp_path, stream_of(rows), "-", "--out", "-", "--keep", "id")
    assert done.returncode == 0, done.stderr
    answers = pl.DataFrame(pa.ipc.open_stream(done.stdout).read_all())
    expected = mlops_kit.load(bundle).predict(rows)["prediction"]
    assert answers["id"].to_list() == rows["id"].to_list()
    assert answers["prediction"].to_numpy().tobytes() == expected.tobytes()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["rows.parquet"]


def test_a_stream_that_ends_early_is_not_marked_as_whole(
    tmp_path: Path, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    parts = tuple(tmp_path / f"{number}.parquet" for number in range(2))
    for part in parts:
        rows.select("id").write_parquet(part)
    schema = pl.read_parquet(parts[0]).to_arrow().schema
    generation = Generation(name_generation(), "sha256:0", "now", (), 2 * ROWS, schema, parts)

    def stop(_rows: int) -> None:
        raise StoppedError(2, 2)

    with pytest.raises(StoppedError):
        open_table(resolve_address("-")).publish(generation, 1, stop)
    sys.stdout.buffer.flush()
    assert not capfdbinary.readouterr().out.endswith(END_OF_STREAM)


def test_bad_rows_of_a_pipe_are_kept(bundle: Path, tmp_path: Path, rows: pl.DataFrame) -> None:
    ids = pl.DataFrame({"x0": [None, 1.0]}, schema={"x0": pl.Float32})
    some = pl.concat([ids, rows.head(2).drop("x0")], how="horizontal")
    done = pipe(bundle, tmp_path, stream_of(some), "-", "--out", "-", "--max-bad-rows", "0.5")
    assert done.returncode == 0, done.stderr
    assert pa.ipc.open_stream(done.stdout).read_all().num_rows == 1
    errors = next(tmp_path.rglob("errors/*.parquet"))
    assert str(errors.relative_to(tmp_path)) in done.stderr.decode()
    assert pl.read_parquet(errors)["column"].to_list() == ["x0"]


REFUSED_PIPES = {
    "nothing": (lambda data: b"", [], b"no whole Arrow IPC stream"),
    "cut short": (lambda data: data[:100_000], [], b"no whole Arrow IPC stream"),
    "another kind": (lambda data: b'{"x0": 1}', [], b"stdin has JSON"),
    "text": (lambda data: b"x0,x1\n1,2\n", [], b"stdin has text"),
    "two streams": (lambda data: data + data, [], b"more than one Arrow IPC stream"),
    "something after its end": (lambda data: data + b"x", [], b"more than one Arrow IPC stream"),
    "two documents on stdout": (lambda data: data, ["--json"], b"both write to stdout"),
}


@pytest.mark.parametrize("case", REFUSED_PIPES)
def test_a_pipe_that_fails_gives_nothing(bundle: Path, tmp_path: Path, rows: pl.DataFrame, case: str) -> None:
    cut, options, message = REFUSED_PIPES[case]
    done = pipe(bundle, tmp_path, cut(stream_of(rows)), "-", "--out", "-", *options)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["rows.parquet"]


def test_a_reader_that_goes_away_ends_the_run_without_a_word_or_a_file(
    bundle: Path, tmp_path: Path, rows: pl.DataFrame
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "batch-predict", str(bundle), "-", "--out", "-"]
    done = subprocess.run(
        command,
        input=stream_of(rows),
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        cwd=tmp_path,
        timeout=100,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["rows.parquet"]
