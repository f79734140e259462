import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import mlops_kit
from mlops_kit.errors import InputError, MlkitError, UsageError
from mlops_kit.modes.batch import score
from mlops_kit.modes.batch.score import count_rows, input_files, score_files
from mlops_kit.predictor import Predictor
from tests.bundles import NAMES, write_bundle


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return mlops_kit.load(write_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))


def write_rows(path: Path, rows: int, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    frame = pl.DataFrame({name: random.standard_normal(rows).astype(np.float32) for name in NAMES})
    frame = frame.with_columns(id=pl.Series([f"row {i}" for i in range(rows)], dtype=pl.String))
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path, row_group_size=1000)
    return frame


@pytest.mark.parametrize("rows", [0, 1, 7, 1000, 5003])
def test_every_row_is_scored_in_order_as_it_is_alone(
    tmp_path: Path, predictor: Predictor, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "SLICE_ROWS", 512)
    frame = write_rows(tmp_path / "in.parquet", rows)
    result = score_files(predictor, tmp_path / "in.parquet", tmp_path / "out", keep=["id"])
    scored = pl.read_parquet(tmp_path / "out" / "in.parquet")
    assert result.rows == rows
    assert scored["id"].to_list() == frame["id"].to_list()
    assert scored.schema == {"id": pl.String, "prediction": pl.Float32}
    for index in range(0, rows, 500):
        assert predictor.predict(frame.row(index, named=True)) == {"prediction": scored["prediction"][index]}


def test_a_folder_keeps_its_shape(tmp_path: Path, predictor: Predictor) -> None:
    write_rows(tmp_path / "in" / "b.parquet", 3)
    write_rows(tmp_path / "in" / "day=1" / "a.parquet", 4)
    (tmp_path / "in" / "_SUCCESS").touch()
    shutil.copy(tmp_path / "in" / "b.parquet", tmp_path / "in" / ".hidden.parquet")
    assert count_rows(input_files(tmp_path / "in")) == 7
    result = score_files(predictor, tmp_path / "in", tmp_path / "out")
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.parquet"))
    assert (result.files, result.rows, written) == (2, 7, ["b.parquet", "day=1/a.parquet"])


def test_a_bad_row_is_named_and_nothing_is_left(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "SLICE_ROWS", 512)
    frame = write_rows(tmp_path / "in.parquet", 3000)
    frame[2345, "x7"] = None
    frame.write_parquet(tmp_path / "in.parquet")
    with pytest.raises(InputError, match=r"in\.parquet: column 'x7', row 2345: a missing value"):
        score_files(predictor, tmp_path / "in.parquet", tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def _drop_column(path: Path) -> None:
    pl.read_parquet(path).drop("x3").write_parquet(path)


def _change_dtype(path: Path) -> None:
    pl.read_parquet(path).with_columns(x3=pl.lit("text")).write_parquet(path)


def _timestamps(path: Path) -> None:
    pl.read_parquet(path).with_columns(x3=pl.datetime(2013, 1, 1)).write_parquet(path)


BAD = [
    (_drop_column, (), "missing column: 'x3'"),
    (_change_dtype, (), "column 'x3', row 0: text where the model takes a number"),
    (_timestamps, (), "column 'x3' is Datetime"),
    (lambda path: path.write_bytes(b"PAR1 no"), (), "not a readable Parquet file"),
    (lambda path: path.unlink(), (), "no such file or folder"),
    (lambda path: None, ("idd",), "did you mean 'id' for 'idd'"),
    (lambda path: None, ("prediction",), "cannot keep 'prediction'"),
]


@pytest.mark.parametrize(("damage", "keep", "message"), BAD)
def test_bad_input_is_refused_and_nothing_is_left(
    tmp_path: Path, predictor: Predictor, damage: object, keep: tuple[str, ...], message: str
) -> None:
    write_rows(tmp_path / "in.parquet", 10)
    assert callable(damage)
    damage(tmp_path / "in.parquet")
    with pytest.raises(MlkitError, match=message):
        score_files(predictor, tmp_path / "in.parquet", tmp_path / "out", keep=keep)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_an_output_inside_of_the_input_is_refused(tmp_path: Path, predictor: Predictor) -> None:
    write_rows(tmp_path / "in" / "a.parquet", 10)
    with pytest.raises(UsageError, match="lies inside of"):
        score_files(predictor, tmp_path / "in", tmp_path / "in" / "out")


def test_a_column_kept_twice_is_kept_once(tmp_path: Path, predictor: Predictor) -> None:
    write_rows(tmp_path / "in.parquet", 10)
    score_files(predictor, tmp_path / "in.parquet", tmp_path / "out", keep=["id", "id"])
    assert pl.read_parquet(tmp_path / "out").columns == ["id", "prediction"]


def test_two_columns_of_one_name_are_refused(tmp_path: Path, predictor: Predictor) -> None:
    table = write_rows(tmp_path / "in.parquet", 10).to_arrow()
    pq.write_table(table.append_column("x3", table.column("x3")), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="two columns are called 'x3'"):
        score_files(predictor, tmp_path / "in.parquet", tmp_path / "out")


def test_an_existing_output_is_not_touched(tmp_path: Path, predictor: Predictor) -> None:
    write_rows(tmp_path / "in.parquet", 10)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(UsageError, match="exists"):
        score_files(predictor, tmp_path / "in.parquet", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]
