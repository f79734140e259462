"""Features in a bundle: which go in, what is said about the others, and that nothing else gets in."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

import mlops_kit
from mlops_kit.bundle.locate import load_bundle
from mlops_kit.errors import BundleError, UsageError
from mlops_kit.features import load_definition
from tests.bundles import edit_manifest, sign_again, write_bundle
from tests.cli.mlkit import mlkit, tree
from tests.features.definition.flights import DEFINITION, write_flights

TRAIN = """
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge

names = ["distance", "delay_mean_1h", "departures_1h", "runways", "altitude"]
rows = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 5)).round(2), columns=names)
rows.to_parquet("rows.parquet")
model = Ridge().fit(rows, rows["distance"])
"""
WORDS = (
    "export",
    "train.py:model",
    "--sample",
    "rows.parquet",
    "--name",
    "eta",
    "--features",
    "features.py",
    "--out",
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose bundle was exported by the command line."""
    folder = tmp_path_factory.mktemp("project")
    write_flights(folder)
    (folder / "features.py").write_text(DEFINITION)
    (folder / "train.py").write_text(TRAIN)
    names = ["distance", "delay_mean_1h", "departures_1h", "runways", "altitude"]
    pl.DataFrame(np.random.default_rng(0).normal(size=(50, 5)).round(2), schema=names).write_parquet(
        folder / "rows.parquet"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = mlkit(*WORDS, "eta")
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.fixture
def project(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(exported)
    return exported


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported / "eta", tmp_path / "eta")


def test_the_features_that_the_model_takes_are_in_the_bundle(project: Path) -> None:
    features = load_bundle("eta").features
    assert features is not None
    names = ["delay_mean_1h", "departures_1h", "runways", "altitude"]
    assert [feature.name for feature in features.features] == names
    assert [field.name for field in features.events[0].fields] == ["dep_delay"]


def test_the_others_are_left_out_and_said(project: Path) -> None:
    remarks = (project / "stderr").read_text()
    left = "note: left out, because they are no columns of the model: 'delay_std_30d', 'carriers_1', 'carriers_2'"
    assert left in remarks
    assert "note: without a default, where the model takes no missing value: 'runways'; a row" in remarks


def test_exporting_twice_gives_the_same_bytes(project: Path, tmp_path: Path) -> None:
    done = mlkit(*WORDS, tmp_path / "again.mlkit", "--json", PYTHONHASHSEED="7")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["digest"] == load_bundle("eta").digest == load_bundle(tmp_path / "again.mlkit").digest
    assert document["features"] == {
        "names": ["delay_mean_1h", "departures_1h", "runways", "altitude"],
        "left_out": ["delay_std_30d", "carriers_1", "carriers_2"],
        "unfilled": ["runways"],
    }


def test_the_bundle_does_not_say_where_it_was_made(project: Path) -> None:
    assert str(project) not in (project / "eta" / "features.json").read_text()


def test_python_takes_a_definition(project: Path, tmp_path: Path) -> None:
    rows = pl.read_parquet("rows.parquet").to_pandas()
    model = Ridge().fit(rows, rows["distance"])
    done = mlops_kit.export(model, sample=rows, features=load_definition("features.py"), out=tmp_path / "eta")
    assert done.left_out == ("delay_std_30d", "carriers_1", "carriers_2")
    assert done.bundle.features == load_bundle("eta").features


def test_inspect_shows_them(project: Path) -> None:
    shown = mlkit("inspect", "eta", COLUMNS="150").stdout
    assert "departures_1h  int64    0        count() of departures by origin, last 1h" in shown
    assert "runways        int64    null     runways of airports by origin" in shown
    document = json.loads(mlkit("inspect", "eta", "--json").stdout)
    assert document["features"] == json.loads((project / "eta" / "features.json").read_text())


def test_inspect_of_a_bundle_without_features_has_none(tmp_path: Path) -> None:
    plain = write_bundle(tmp_path / "plain")
    assert json.loads(mlkit("inspect", plain, "--json").stdout)["features"] is None


def test_verify_finds_a_changed_file(copy: Path) -> None:
    path = copy / "features.json"
    path.write_bytes(path.read_bytes().replace(b"3600000000", b"3600000001"))
    done = mlkit("verify", copy)
    assert done.returncode == 2
    assert "features.json: refused" in done.stderr
    assert "its content differs from the checksum" in done.stderr


def _edit(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        document = json.loads((folder / "features.json").read_text())
        change(document)
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / "features.json").write_text(text)
        sign_again(folder)

    return edit


def _dtype_of_columns(dtype: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        signature = json.loads((folder / "manifest.json").read_text())["signature"]
        signature["columns"] = [column | {"dtype": dtype} for column in signature["columns"]]
        edit_manifest(folder, signature=signature)

    return edit


def _huge(folder: Path) -> None:
    (folder / "features.json").write_bytes(b" " * (4 * 2**20 + 1))
    sign_again(folder)


def _link(folder: Path) -> None:
    (folder / "features.json").unlink()
    (folder / "features.json").symlink_to("/etc/passwd")


HOSTILE = {
    "a feature that is no column": (
        _edit(lambda document: document["windows"][0].update(name="delay")),
        "'delay' is no column of the model",
    ),
    "code for a condition": (
        _edit(lambda document: document["windows"][0].update(condition="exit() = 1")),
        "there is no column 'exit'",
    ),
    "columns of text": (_dtype_of_columns("string"), "'delay_mean_1h' is float64, and the model's column string"),
    "too large a file": (_huge, "more than the 4194304 that a features.json may have"),
    "a link": (_link, "it is a symbolic link"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_bundle_with_other_features_is_refused(copy: Path, change: Callable[[Path], None], message: str) -> None:
    change(copy)
    with pytest.raises(BundleError, match=r"features\.json: refused") as caught:
        load_bundle(copy)
    assert message in str(caught.value)


def test_a_file_that_the_manifest_does_not_list_is_not_read(copy: Path) -> None:
    files = json.loads((copy / "manifest.json").read_text())["files"]
    edit_manifest(copy, files=[entry for entry in files if entry["name"] != "features.json"])
    assert load_bundle(copy).features is None


WRONG = {
    "no feature that the model takes": (
        "delay_mean_1h=mean|departures_1h=count|airports.select",
        "delay_mean=mean|n=count|departures.window('1h').agg(m=count()) or airports.select",
        "none of the features",
    ),
    "text for a number": (
        'delay_mean_1h=mean("dep_delay", default=0)',
        'delay_mean_1h=last("carrier")',
        "is string",
    ),
    "a mistake": ('mean("dep_delay"', 'mean("dep_dely"', "features.py, line 10: "),
}


@pytest.mark.parametrize(("before", "after", "message"), WRONG.values(), ids=WRONG)
def test_features_that_do_not_fit_are_refused_and_nothing_is_written(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, message: str
) -> None:
    folder = shutil.copytree(exported, tmp_path / "project")
    monkeypatch.chdir(folder)
    text = DEFINITION.replace("mean, std", "last, mean, std")
    for old, new in zip(before.split("|"), after.split("|"), strict=True):
        text = text.replace(old, new)
    (folder / "features.py").write_text(text)
    before_tree = tree(folder)
    rows = pl.read_parquet("rows.parquet").to_pandas()
    model = Ridge().fit(rows, rows["distance"])
    with pytest.raises(UsageError) as caught:
        mlops_kit.export(model, sample=rows, features="features.py", out=folder / "new")
    assert message in str(caught.value)
    assert [path for path in tree(folder) if "__pycache__" not in path] == before_tree
