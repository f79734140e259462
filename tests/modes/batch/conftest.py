"""Two small bundles, and a job over the folder `in`."""

from pathlib import Path

import polars as pl
import pytest

import mlops_kit
from mlops_kit.modes.batch import local
from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.sources import parquet
from mlops_kit.predictor import Predictor
from tests.bundles import WEIGHTS, linear_graph, write_bundle
from tests.modes.batch.rows import make_rows


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


@pytest.fixture
def rows(tmp_path: Path) -> pl.DataFrame:
    """What is in rows.parquet."""
    rows = make_rows(3000)
    rows.write_parquet(tmp_path / "rows.parquet")
    return rows
