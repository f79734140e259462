"""What is logged of requests: read by others, replayed, and whatever happens to the disk or the process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import duckdb
import numpy as np
import polars as pl
import pytest

import mlops_kit
from mlops_kit.errors import UsageError
from mlops_kit.frames import columns_of
from mlops_kit.modes.online.batch import Answer, Feeds
from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.metrics.exposition import render_metrics
from mlops_kit.modes.online.metrics.layout import Layout
from mlops_kit.modes.online.prediction_log.log import LogLimits, PredictionLog
from mlops_kit.modes.online.prediction_log.parts import prepare_folder
from mlops_kit.modes.online.served_model import Request
from mlops_kit.predictor import Predictor
from mlops_kit.schema import Array, Column, Output, Signature, Tensor
from tests.cli.mlkit import mlkit
from tests.modes.online.mixed import SIGNATURE, mixed_rows, write_mixed_bundle
from tests.modes.online.server import serving

OFTEN = LogLimits(part_bytes=1)
"""A part each time that the thread looks."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixed_bundle(tmp_path_factory.mktemp("bundles") / "mixed")


@pytest.fixture
def predictor(bundle: Path) -> Predictor:
    return mlops_kit.load(bundle)


class Served:
    """What the log wants to know of a served model."""

    def __init__(self, name: str = "mixed", signature: Signature = SIGNATURE) -> None:
        self.name, self.digest, self.predictor = name, "sha256:0", SimpleNamespace(signature=signature)
        self.lookup = None


def add(log: PredictionLog, served: Any, feeds: Feeds, outputs: Sequence[Array], rows: int) -> str:
    """As if the request had arrived now."""
    return log.add(served, Request(feeds, rows), Answer(outputs, 0.0, 0.0, rows), time.perf_counter())


def log_rows(log: PredictionLog, predictor: Predictor, rows: pl.DataFrame, name: str = "mixed") -> str:
    """Log what the model answers."""
    feeds = predictor.assemble_columns({c: np.asarray(rows[c]) for c in rows.columns})
    return add(log, Served(name), feeds, predictor.run(feeds, len(rows)), len(rows))


def logged(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(f"{folder}/*/*/*.parquet", hive_partitioning=True)


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*/*.parquet"))


def assert_replayed(predictor: Predictor, frame: pl.DataFrame) -> None:
    """The model gives the same bits for what was logged."""
    answers = predictor.predict(frame["inputs"].struct.unnest())
    outputs = frame["outputs"].struct.unnest()
    assert answers.keys() == set(outputs.columns)
    for name, values in answers.items():
        seen = np.array(outputs[name].to_list(), values.dtype)
        assert seen.tobytes() == values.tobytes() if values.dtype != object else seen.tolist() == values.tolist()


def assert_equal_rows(frame: pl.DataFrame, rows: pl.DataFrame) -> None:
    inputs = frame["inputs"].struct.unnest()
    assert inputs.to_dicts() == rows.with_columns(days=pl.col("days").cast(pl.Float32)).to_dicts()


def test_what_a_server_answered_is_read_by_others_and_replayed(bundle: Path, tmp_path: Path) -> None:
    predictor, rows = mlops_kit.load(bundle), mixed_rows(7)
    with serving(f"a b={bundle}", "--log-predictions", tmp_path / "log") as server, server.client() as client:
        records = {"dataframe_records": rows.to_dicts()}
        many = client.post("/invocations", json=records, headers={"x-request-id": "seven"})
        one = client.post("/invocations", json={"dataframe_records": rows.to_dicts()[:1]})
        assert many.headers["x-request-id"] == "seven"
        code, said = server.stop()
    assert code == 0, said
    frame = logged(tmp_path / "log").sort("time", "row")
    assert frame["id"].to_list() == ["seven"] * 7 + [one.headers["x-request-id"]]
    assert frame["row"].to_list() == [*range(7), 0]
    assert frame["model"].unique().to_list() == ["a b"]
    assert frame["digest"].unique().to_list() == [predictor.bundle.digest]  # type: ignore[union-attr]
    assert (abs(frame["time"].dt.epoch("s") - time.time()) < 100).all()
    assert frame["latency_s"].is_between(0, 10).all()
    assert_equal_rows(frame[:7], rows)
    assert_replayed(predictor, frame)
    query = f"SELECT model, day, inputs.city, outputs.total FROM '{tmp_path}/log/*/*/*.parquet' ORDER BY time, row"
    found = duckdb.sql(query).fetchall()
    assert [row[2] for row in found[:7]] == rows["city"].to_list()
    assert [row[3] for row in found] == [row["total"] for row in frame["outputs"]]
    assert {row[0] for row in found} == {"a b"}


def test_requests_have_the_ids_that_their_protocol_gives_them(bundle: Path, tmp_path: Path) -> None:
    row = mixed_rows(1)
    with serving(bundle, "--log-predictions", tmp_path) as server, server.client() as client:
        ids = ["plain", "größe", "a\r\nb: c", "x" * 1000, ""]
        answers = [client.post("/v2/models/mixed/infer", json={"id": name} | oip(row)) for name in ids]
        server.stop()
    names = [answer.headers.get("x-request-id") for answer in answers]
    assert names[:4] == ["plain", None, None, None]
    assert sorted(logged(tmp_path)["id"]) == sorted([*ids[:4], names[4]])


def oip(rows: pl.DataFrame) -> dict[str, Any]:
    """Without what is missing, which the protocol does not know."""
    rows = rows.with_columns(city=pl.col("city").fill_null(""), price=pl.col("price").fill_null(0.0))
    datatypes = {
        "city": "BYTES", "is_new": "BOOL", "count": "INT64", "level": "UINT8", "price": "FP64", "half": "FP16",
        "width": "FP32", "days": "INT32", "image": "FP32",
    }  # fmt: skip
    inputs = [
        {
            "name": name,
            "datatype": datatype,
            "shape": list(np.shape(rows[name].to_list())),
            "data": rows[name].to_list(),
        }
        for name, datatype in datatypes.items()
    ]
    return {"inputs": inputs}


def test_all_processes_write_side_by_side(predictor: Predictor, tmp_path: Path) -> None:
    logs = [PredictionLog(tmp_path, OFTEN) for _ in range(3)]
    for seed in range(30):
        for log in logs:
            log_rows(log, predictor, mixed_rows(1 + seed % 3, seed))
    for log in logs:
        log.close()
    frame = logged(tmp_path)
    assert len(frame) == 3 * sum(1 + seed % 3 for seed in range(30))
    assert frame["id"].n_unique() == 90
    assert_replayed(predictor, frame)


def test_days_and_models_are_folders(predictor: Predictor, tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    midnight = 1_800_000_000 // 86_400 * 86_400
    names = ("a=b/c %", "other")
    for name in names:
        for moment in (midnight - 1, midnight + 1):
            with patch("time.time_ns", return_value=moment * 10**9):
                log_rows(log, predictor, mixed_rows(1), name)
    log.close()
    assert len(parts(tmp_path)) == 4
    frame = logged(tmp_path)
    assert (frame["time"].dt.date() == frame["day"].cast(pl.Date)).all()
    assert set(frame["model"]) == set(names)
    models = duckdb.sql(
        f"SELECT DISTINCT model FROM read_parquet('{tmp_path}/*/*/*.parquet', hive_partitioning=true)"
    )
    assert {row[0] for row in models.fetchall()} == set(names)


def test_tensors_of_varying_shape_are_lists(tmp_path: Path) -> None:
    signature = Signature(
        (Column("tokens", "int64", (None, 2)),),
        (Tensor("tokens", "int64", ("tokens",), "array"),),
        (Output("y", "float32", "y", shape=(None,)),),
    )
    log = PredictionLog(tmp_path)
    served = Served(signature=signature)
    tensors = [np.arange(rows * size * 2).reshape(rows, size, 2) for rows, size in ((2, 3), (1, 0), (1, 1))]
    for tensor in tensors:
        add(log, served, {"tokens": tensor}, [tensor[:, :, 0].astype(np.float32)], len(tensor))
    log.close()
    frame = logged(tmp_path)
    assert [row["tokens"] for row in frame["inputs"]] == [row for tensor in tensors for row in tensor.tolist()]
    assert [row["y"] for row in frame["outputs"]] == [
        row for tensor in tensors for row in tensor[:, :, 0].tolist()
    ]


def test_a_full_queue_drops_and_counts(predictor: Predictor, tmp_path: Path, caplog: Any) -> None:
    log = PredictionLog(tmp_path, LogLimits(queue_bytes=100))
    assert log_rows(log, predictor, mixed_rows(1))
    log_rows(log, predictor, mixed_rows(1))
    log.close()
    assert log.losses == {"full": 2, "unfit": 0, "unwritten": 0}
    assert "2 requests are not logged" in caplog.text
    assert not parts(tmp_path)


def test_parts_are_written_while_the_server_goes_on(predictor: Predictor, tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, LogLimits(part_s=0.05))
    log_rows(log, predictor, mixed_rows(3))
    await_parts(tmp_path)
    log.close()
    assert len(logged(tmp_path)) == 3


def test_what_cannot_be_written_is_counted_and_the_next_is_written(
    predictor: Predictor, tmp_path: Path, caplog: Any
) -> None:
    log = PredictionLog(tmp_path, OFTEN)
    blocking = tmp_path / "model=mixed"
    blocking.write_text("no folder")
    log_rows(log, predictor, mixed_rows(2))
    deadline = time.monotonic() + 20
    while not log.losses["unwritten"] and time.monotonic() < deadline:
        time.sleep(0.01)
    blocking.unlink()
    log_rows(log, predictor, mixed_rows(3))
    log.close()
    assert log.losses["unwritten"] == 1
    assert "predictions of 1 requests could not be logged" in caplog.text
    assert len(logged(tmp_path)) == 3


BAD_OUTPUTS = {
    "a longer list": ("sides", np.zeros((1, 4), np.float32)),
    "half a character": ("label", np.array(["\ud800"], object)),
}


@pytest.mark.parametrize(("name", "bad"), BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
@pytest.mark.parametrize("limits", [LogLimits(), OFTEN], ids=["with others", "alone"])
def test_what_does_not_fit_the_signature_is_lost_alone_and_counted(
    predictor: Predictor, tmp_path: Path, caplog: Any, limits: LogLimits, name: str, bad: Array
) -> None:
    log = PredictionLog(tmp_path, limits)
    feeds = predictor.assemble_columns(columns_of(mixed_rows(1))[0])
    answered = zip(SIGNATURE.outputs, predictor.run(feeds, 1), strict=True)
    outputs = [bad if output.name == name else values for output, values in answered]
    for seed in range(5):
        log_rows(log, predictor, mixed_rows(2, seed))
    add(log, Served(), feeds, outputs, 1)
    log_rows(log, predictor, mixed_rows(2, 5))
    log.close()
    assert_replayed(predictor, logged(tmp_path))
    assert len(logged(tmp_path)) == 12
    assert log.losses == {"full": 0, "unfit": 1, "unwritten": 0}
    assert "1 requests are not logged, because their inputs or outputs" in caplog.text


def test_losses_are_counted_by_their_reason(predictor: Predictor, tmp_path: Path) -> None:
    log = PredictionLog(tmp_path, LogLimits(queue_bytes=100))
    log_rows(log, predictor, mixed_rows(1))
    log.close()
    counters = SharedCounters(Layout(["mixed"]), 2)
    for reason, count in log.losses.items():
        counters.slot(0)[counters.layout.losses[reason]] = count
    body, _ = render_metrics(counters, {}, "")
    found = [line for line in body.decode().splitlines() if line.startswith("mlkit_prediction_log_dropped_total")]
    assert [line.partition("_total")[2] for line in found] == [
        '{reason="full"} 1.0', '{reason="unfit"} 0.0', '{reason="unwritten"} 0.0'
    ]  # fmt: skip


def test_a_full_disk_leaves_no_file(predictor: Predictor, tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    with patch("polars.DataFrame.write_parquet", side_effect=OSError(28, "No space left on device")):
        log_rows(log, predictor, mixed_rows(2))
        log.close()
    assert log.losses == {"full": 0, "unfit": 0, "unwritten": 1}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


LOGGER = """
import sys, pathlib
import mlops_kit
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from tests.modes.online.mixed import mixed_rows
from tests.modes.online.test_prediction_log import OFTEN, log_rows
predictor = mlops_kit.load(sys.argv[1])
log = PredictionLog(pathlib.Path(sys.argv[2]), OFTEN)
while True:
    log_rows(log, predictor, mixed_rows(5))
"""


def await_parts(folder: Path, count: int = 1) -> None:
    deadline = time.monotonic() + 30
    while len(parts(folder)) < count and time.monotonic() < deadline:
        time.sleep(0.005)


def test_a_killed_process_leaves_only_whole_parts(bundle: Path, predictor: Predictor, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", LOGGER, str(bundle), str(tmp_path)])
    try:
        await_parts(tmp_path, 3)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(parts(tmp_path)) >= 3
    assert_replayed(predictor, logged(tmp_path))


@pytest.fixture
def leftovers(tmp_path: Path) -> tuple[Path, Path]:
    """An old and a new one."""
    folder = tmp_path / ".writing"
    folder.mkdir()
    old, new = folder / "part-1.parquet", folder / "part-2.parquet"
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (0, 0))
    return old, new


def test_old_leftovers_are_removed_at_the_next_start(leftovers: tuple[Path, Path], tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    old, new = leftovers
    assert not old.exists()
    assert new.exists()


def test_a_reader_does_not_see_leftovers(
    leftovers: tuple[Path, Path], predictor: Predictor, tmp_path: Path
) -> None:
    log = PredictionLog(tmp_path)
    log_rows(log, predictor, mixed_rows(3))
    log.close()
    assert len(logged(tmp_path)) == 3


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be logged there"):
        prepare_folder(tmp_path / "file")
    done = mlkit("serve", bundle, "--log-predictions", tmp_path / "file")
    assert done.returncode == 2
    assert "--log-predictions" in done.stderr
