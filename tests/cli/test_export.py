"""The whole way through the command line, on a small scikit-learn model; and every refusal."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

import mlops_kit
from tests.bundles import linear_graph
from tests.cli.mlkit import mlkit, tree

TRAIN = """
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

print("training")
rows = pd.read_csv(__file__.replace("train.py", "rows.csv"))
encode = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="passthrough")
model = make_pipeline(encode, Ridge()).fit(rows[["city", "size"]], rows["price"])
unfitted = Ridge()
number = 3
"""


def make_rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    city = random.choice(["Oslo", "Rome"], 40)
    size = random.uniform(10, 90, 40).round(1)
    return pd.DataFrame({"city": city, "size": size, "price": size * 2 + (city == "Rome") * 5})


def fit_model(rows: pd.DataFrame) -> object:
    encode = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="passthrough")
    return make_pipeline(encode, Ridge()).fit(rows[["city", "size"]], rows["price"])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = make_rows()
    (tmp_path / "train.py").write_text(TRAIN)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    joblib.dump(fit_model(rows), tmp_path / "model.joblib")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ROW = json.dumps({"city": "Rome", "size": 30.5})


def test_a_script_becomes_a_bundle_that_predicts(project: Path) -> None:
    done = mlkit(
        "export", "train.py:model", "--sample", "rows.csv", "--target", "price", "--out", "b/rent", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert "training" in done.stderr  # what the script prints is no result of ours
    document = json.loads(done.stdout)
    assert document["name"] == "rent"
    expected = fit_model(make_rows()).predict(pd.DataFrame([json.loads(ROW)]))[0]  # type: ignore[attr-defined]
    answer = json.loads(mlkit("predict", "b/rent", stdin=ROW).stdout)
    assert answer["prediction"] == pytest.approx(expected, rel=1e-12)


def test_the_same_model_in_two_processes_has_the_same_digest(project: Path) -> None:
    words = [
        "export",
        "model.joblib",
        "--trust-pickle",
        "--sample",
        "rows.csv",
        "--name",
        "rent",
        "--json",
        "--out",
    ]
    documents = [json.loads(mlkit(*words, f"b{seed}", PYTHONHASHSEED=seed).stdout) for seed in ("1", "2")]
    assert documents[0]["digest"] == documents[1]["digest"]


def test_python_and_the_command_line_give_the_same_digest(project: Path) -> None:
    words = ["export", "model.joblib", "--trust-pickle", "--sample", "rows.csv", "--target", "price"]
    document = json.loads(mlkit(*words, "--out", "rent", "--json").stdout)
    rows = pd.read_csv("rows.csv")
    model = joblib.load("model.joblib")
    exported = mlops_kit.export(model, sample=rows, target="price", name="rent", out=project / "again")
    assert exported.bundle.digest == document["digest"]


def test_an_archive_is_exported_and_predicts(project: Path) -> None:
    done = mlkit("export", "train.py:model", "--sample", "rows.csv", "--target", "price", "--out", "rent.mlkit")
    assert done.returncode == 0, done.stderr
    assert json.loads(mlkit("predict", "rent.mlkit", stdin=ROW).stdout)["prediction"] > 0


def test_an_export_is_registered_and_comes_back_by_alias(project: Path) -> None:
    uri = f"sqlite:///{project}/mlflow.db"
    words = ["export", "train.py:model", "--sample", "rows.csv", "--target", "price", "--out", "rent"]
    done = mlkit(*words, "--register", "models:/rent", "--json", MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["registered_version"] == "1"
    mlflow.MlflowClient(uri).set_registered_model_alias("rent", "champion", "1")
    answer = mlkit("predict", "models:/rent@champion", stdin=ROW, MLFLOW_TRACKING_URI=uri)
    assert answer.stdout == mlkit("predict", "rent", stdin=ROW).stdout


def test_a_model_logged_with_its_own_flavour_is_exported(project: Path) -> None:
    rows = pd.read_csv("rows.csv")
    mlflow.sklearn.save_model(joblib.load("model.joblib"), project / "logged", serialization_format="cloudpickle")
    refused = mlkit("export", "logged", "--sample", "rows.csv", "--out", "rent")
    assert refused.returncode == 2
    assert "--trust-pickle" in refused.stderr
    done = mlkit("export", "logged", "--trust-pickle", "--sample", "rows.csv", "--out", "rent")
    assert done.returncode == 0, done.stderr
    assert len(rows) == 40


def test_a_column_transformer_bundle_loads_in_mlflow(project: Path) -> None:
    mlops_kit.export(joblib.load("model.joblib"), sample="rows.csv", out=project / "rent")
    rows = pd.read_csv("rows.csv")[["city", "size"]]
    answers = mlflow.pyfunc.load_model(str(project / "rent")).predict(rows)
    expected = mlops_kit.load(project / "rent").predict({name: rows[name].to_numpy(object) for name in rows})
    assert answers["prediction"].tolist() == expected["prediction"].tolist()


def _pickle_that_runs_code(project: Path) -> None:
    import pickle

    class Malice:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(project / "pwned"),)

    (project / "evil.pkl").write_bytes(pickle.dumps(Malice()))


def _python_function(project: Path) -> None:
    rows = make_rows()[["size"]]
    model = make_pipeline(FunctionTransformer(np.cbrt), Ridge()).fit(rows, rows["size"])
    joblib.dump(model, project / "function.joblib")


def _foreign_operator(project: Path) -> None:
    model = linear_graph()
    model.graph.node[0].domain = "com.evil"
    model.opset_import.add(domain="com.evil", version=1)
    (project / "evil.onnx").write_bytes(model.SerializeToString())


def _rename_column(project: Path) -> None:
    pd.read_csv("rows.csv").rename(columns={"size": "sizes"}).to_csv("renamed.csv", index=False)


def _timestamps(project: Path) -> None:
    rows = make_rows().assign(size=pd.Timestamp("2013-01-01"))
    rows.to_parquet("times.parquet")


def _truncated(project: Path) -> None:
    data = linear_graph().SerializeToString()
    (project / "half.onnx").write_bytes(data[: len(data) // 2])


GOOD = ["--sample", "rows.csv", "--target", "price"]
REFUSED = {
    "no such file": (None, ["nothing.onnx"], "nothing.onnx: no such file"),
    "no such script": (None, ["nothing.py:model"], "nothing.py: no such file"),
    "no such module": (None, ["no.such.module:model"], "no.such.module: no such module"),
    "no such variable": (None, ["train.py:modle", *GOOD], "did you mean 'model' for 'modle'?"),
    "not a model": (None, ["train.py:number", *GOOD], "cannot export a builtins.int"),
    "not fitted": (None, ["train.py:unfitted", *GOOD], "fit"),
    "a pickle without consent": (_pickle_that_runs_code, ["evil.pkl"], "--trust-pickle"),
    "a joblib file without consent": (None, ["model.joblib"], "--trust-pickle"),
    "a text file": (None, ["rows.csv"], "not a model file that mlkit knows"),
    "a truncated ONNX file": (_truncated, ["half.onnx"], "half.onnx"),
    "an estimator without a converter": (_python_function, ["function.joblib", "--trust-pickle"], "FunctionTransformer"),
    "a foreign operator": (_foreign_operator, ["evil.onnx"], "'com.evil'"),
    "a renamed column": (_rename_column, ["train.py:model", "--sample", "renamed.csv"], "did you mean 'sizes' for 'size'?"),
    "a column of timestamps": (_timestamps, ["train.py:model", "--sample", "times.parquet"], "Datetime"),
    "a script without a variable": (None, ["train.py"], "train.py:model"),
    "a target without a sample": (None, ["train.py:model", "--target", "price"], "give --sample"),
    "no such sample": (None, ["train.py:model", "--sample", "no.csv"], "no.csv: no such file"),
    "no such target": (None, ["train.py:model", "--sample", "rows.csv", "--target", "prise"], "did you mean 'price'"),
    "an unknown kind of sample": (None, ["train.py:model", "--sample", "train.py"], "unknown kind of file"),
    "a senseless tolerance": (None, ["train.py:model", "--tolerance", "-1"], "tolerance"),
    "no place to register at": (None, ["train.py:model", *GOOD, "--register", "rent"], "--register models:/NAME"),
    "text columns without a sample": (None, ["train.py:model"], "--sample"),
}  # fmt: skip


@pytest.mark.parametrize(("prepare", "words", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_in_one_message_and_nothing_changes(
    project: Path, prepare: object, words: list[str], message: str
) -> None:
    if callable(prepare):
        prepare(project)
    before = tree(project)
    done = mlkit("export", *words, "--out", "deep/rent")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert message in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
    assert tree(project) == before


def test_an_existing_target_is_refused_before_any_work(project: Path) -> None:
    (project / "rent").mkdir()
    done = mlkit("export", "train.py:model", *GOOD, "--out", "rent")
    assert done.returncode == 2
    assert "rent exists" in done.stderr
    assert "training" not in done.stderr


def test_beyond_the_tolerance_the_export_fails_and_leaves_nothing(project: Path) -> None:
    with (project / "train.py").open("a") as file:
        file.write("honest = model.predict\nmodel.predict = lambda rows: honest(rows) + (rows['size'] > 80)\n")
    before = tree(project)
    done = mlkit("export", "train.py:model", *GOOD, "--out", "rent")
    assert done.returncode == 1
    assert "and the original gives" in done.stderr
    assert tree(project) == before


def test_a_killed_export_leaves_no_bundle(project: Path) -> None:
    """Whatever the moment: at the name there is a whole bundle or none."""
    for delay in np.linspace(0.5, 3.0, 6):
        shutil.rmtree("rent", ignore_errors=True)
        words = ["export", "model.joblib", "--trust-pickle", "--sample", "rows.csv", "--out", "rent"]
        program = "import sys; sys.argv[0] = 'mlkit'; from mlops_kit_cli.main import run; run()"
        process = subprocess.Popen([sys.executable, "-c", program, *words], stderr=subprocess.DEVNULL)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if (project / "rent").exists():
            assert mlkit("verify", "rent").returncode == 0
