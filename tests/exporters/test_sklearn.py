"""scikit-learn's estimators, exported, answer as scikit-learn does: alone on numbers, and behind text."""

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import (
    base,
    cluster,
    compose,
    decomposition,
    dummy,
    ensemble,
    gaussian_process,
    linear_model,
    manifold,
    naive_bayes,
    neighbors,
    pipeline,
    preprocessing,
    svm,
)

import mlops_kit
from mlops_kit.errors import ConversionError, InputError, SourceError
from mlops_kit.exporters.samples import read_sample
from mlops_kit.exporters.sklearn import exporter
from mlops_kit.schema import Array
from tests.exporters import sklearn_zoo as zoo
from tests.exporters.sklearn_answers import assert_same, exported_answers, own_answers, predict

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")

BEHIND_TEXT = {
    name: case
    for name, case in {**zoo.REGRESSORS, **zoo.CLASSIFIERS}.items()
    if name not in zoo.SAME_IN_A_PIPELINE
}
ALONE = {**zoo.REGRESSORS, **zoo.CLASSIFIERS, **zoo.TRANSFORMERS}
TOLERANCE = {"BernoulliNB": 1e-6, "GradientBoostingRegressor from a ridge": 1e-5, "KNNImputer": 1e-5}
"""The first and the last are skl2onnx's, in float32; in the second scikit-learn itself computes in float32."""


def tolerance_of(name: str) -> float:
    return TOLERANCE.get(name.split(",")[0], 1e-9)


@pytest.mark.parametrize("name", ALONE)
def test_estimator_alone(name: str, tmp_path: Path) -> None:
    estimator, target = ALONE[name]
    model = base.clone(estimator).fit(zoo.MATRIX, zoo.TARGETS[target])
    assert_same(own_answers(model, zoo.MATRIX), exported_answers(model, zoo.MATRIX, tmp_path), tolerance_of(name))


@pytest.mark.parametrize("name", BEHIND_TEXT)
def test_estimator_behind_text_and_missing_values(name: str, tmp_path: Path) -> None:
    estimator, target = BEHIND_TEXT[name]
    model = pipeline.make_pipeline(zoo.prepare_flights(), base.clone(estimator))
    model.fit(zoo.FLIGHTS, zoo.flight_target(target))
    answers = exported_answers(model, zoo.FLIGHTS, tmp_path)
    assert_same(own_answers(model, zoo.FLIGHTS), answers, tolerance_of(name))


@pytest.mark.parametrize("name", zoo.DETECTORS)
def test_clusters_and_outliers(name: str, tmp_path: Path) -> None:
    model = base.clone(zoo.DETECTORS[name]).fit(zoo.MATRIX)
    answers = exported_answers(model, zoo.MATRIX, tmp_path)
    assert_same(own_answers(model, zoo.MATRIX), answers)
    if "score" in answers:
        np.testing.assert_allclose(answers["score"], model.decision_function(zoo.MATRIX), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", zoo.ENCODERS)
def test_encoder_of_text(name: str, tmp_path: Path) -> None:
    texts = zoo.FLIGHTS[["carrier", "origin"]]
    model = base.clone(zoo.ENCODERS[name]).fit(texts, zoo.CLASS_OF_DELAY == "late")
    assert_same(own_answers(model, texts), exported_answers(model, texts, tmp_path))


@pytest.mark.parametrize("name", zoo.ENCODERS)
def test_unseen_category(name: str, tmp_path: Path) -> None:
    texts = zoo.FLIGHTS[["carrier", "origin"]]
    model = base.clone(zoo.ENCODERS[name]).fit(texts, zoo.CLASS_OF_DELAY == "late")
    unseen = pd.DataFrame({"carrier": ["AA", "??"], "origin": ["LAX", None]})
    mlops_kit.export(model, sample=texts, out=tmp_path / "bundle")
    if "one dropped" in name:
        with pytest.raises(InputError):
            predict(tmp_path, unseen)
    else:
        assert_same(own_answers(model, unseen), predict(tmp_path, unseen))


def test_isotonic_regression_takes_one_column(tmp_path: Path) -> None:
    estimator, target = zoo.COLUMN["IsotonicRegression"]
    column = zoo.MATRIX[:, :1]
    model = estimator.fit(column, zoo.TARGETS[target])
    assert_same(own_answers(model, column), exported_answers(model, column, tmp_path))


def test_naive_bayes_of_categories(tmp_path: Path) -> None:
    counts = np.round(zoo.MATRIX)
    model = naive_bayes.CategoricalNB(min_categories=40).fit(counts, zoo.LEVEL)
    assert_same(own_answers(model, counts), exported_answers(model, counts, tmp_path), 1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", ["truth", "level"])
def test_probabilities_of_support_vectors(target: str, tmp_path: Path) -> None:
    model = svm.SVC(probability=True, random_state=0).fit(zoo.MATRIX, zoo.TARGETS[target])
    assert_same(own_answers(model, zoo.MATRIX), exported_answers(model, zoo.MATRIX, tmp_path), 1e-5)


def test_probabilities_are_named_by_the_classes(tmp_path: Path) -> None:
    model = linear_model.LogisticRegression().fit(zoo.MATRIX, zoo.LEVEL)
    answers = exported_answers(model, zoo.MATRIX, tmp_path)
    assert list(answers) == ["prediction", "probability_high", "probability_low", "probability_medium"]
    assert set(answers["prediction"]) <= {"high", "low", "medium"}


def test_several_targets_have_probabilities_each(tmp_path: Path) -> None:
    model = ensemble.RandomForestClassifier(n_estimators=5, random_state=0).fit(
        zoo.MATRIX, zoo.TARGETS["two truths"]
    )
    answers = exported_answers(model, zoo.MATRIX, tmp_path)
    first, second = model.predict_proba(zoo.MATRIX)
    np.testing.assert_allclose(answers["probability_0_1"], first[:, 1])
    np.testing.assert_allclose(answers["probability_1_0"], second[:, 0])


TREES = [
    ensemble.AdaBoostRegressor(n_estimators=5, random_state=0),
    ensemble.BaggingRegressor(n_estimators=5, random_state=0),
    zoo.stump(random_state=0),
    ensemble.ExtraTreesRegressor(n_estimators=5, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=20, random_state=0),
    ensemble.HistGradientBoostingRegressor(max_iter=20),
    ensemble.RandomForestRegressor(n_estimators=5, random_state=0),
]


@pytest.mark.parametrize("estimator", TREES, ids=lambda tree: type(tree).__name__)
def test_trees_on_large_integers(estimator: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    integers = random.integers(0, 10**8, (2000, 4))
    target = integers @ [1e-7, 2e-7, 3e-8, 0] + np.sin(integers[:, 1] / 1e7)
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), base.clone(estimator)).fit(integers, target)
    assert_same(own_answers(model, integers), exported_answers(model, integers, tmp_path))


def test_large_integers_are_told_apart_as_categories(tmp_path: Path) -> None:
    keys = pd.DataFrame({"key": np.array([2**24, 2**24 + 1, 2**53 - 1, 7] * 5)})
    model = pipeline.make_pipeline(preprocessing.OneHotEncoder(), linear_model.Ridge()).fit(keys, np.arange(20))
    assert_same(own_answers(model, keys), exported_answers(model, keys, tmp_path))


def test_single_precision_is_computed_in_single_precision(tmp_path: Path) -> None:
    matrix = zoo.MATRIX.astype(np.float32)
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), zoo.stump()).fit(matrix, zoo.SCORE)
    assert_same(own_answers(model, matrix), exported_answers(model, matrix, tmp_path), 1e-6)
    assert mlops_kit.load(tmp_path / "bundle").signature.tensors[0].dtype == "float32"


SCORE_OF_CARRIER = zoo.FLIGHTS["carrier"].map({"AA": 1, "UA": 5, "DL": 0, "Ünited": 4}) + zoo.DELAY


def test_splits_on_sets_of_categories(tmp_path: Path) -> None:
    frame = zoo.FLIGHTS.astype({"carrier": "category", "origin": "category"})
    model = ensemble.HistGradientBoostingRegressor(max_iter=10, min_samples_leaf=3).fit(frame, SCORE_OF_CARRIER)
    assert any(p.nodes["is_categorical"].any() for stage in model._predictors for p in stage)
    answers = exported_answers(model, frame, tmp_path, zoo.FLIGHTS)
    assert_same(own_answers(model, frame), answers)


class Doubling(base.TransformerMixin, base.BaseEstimator):
    """A transformer that somebody wrote."""

    def fit(self, X: Array, y: Any = None) -> "Doubling":
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Array) -> Array:
        return 2 * X


UNSUPPORTED: dict[str, tuple[Any, str]] = {
    "a transformer of one's own": (Doubling(), "Doubling"),
    "a Python function": (preprocessing.FunctionTransformer(lambda x: x + 1), "<lambda>"),
    "Birch": (cluster.Birch(), "Birch"),
    "FastICA": (decomposition.FastICA(n_components=2, random_state=0), "FastICA"),
    "Isomap": (manifold.Isomap(), "Isomap"),
    "NearestCentroid": (neighbors.NearestCentroid(), "NearestCentroid"),
    "RadiusNeighborsRegressor": (neighbors.RadiusNeighborsRegressor(radius=5), "RadiusNeighborsRegressor"),
    "SplineTransformer": (preprocessing.SplineTransformer(), "SplineTransformer"),
    "GaussianProcessClassifier": (gaussian_process.GaussianProcessClassifier(), "Solve"),
    "DummyClassifier, random": (dummy.DummyClassifier(strategy="uniform"), "random"),
    "DBSCAN": (cluster.DBSCAN(), "neither predict nor transform"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_estimator_is_named(name: str, tmp_path: Path) -> None:
    estimator, word = UNSUPPORTED[name]
    target = zoo.IS_HIGH if base.is_classifier(estimator) else zoo.SCORE
    model = pipeline.Pipeline([("scale", preprocessing.StandardScaler()), ("last", base.clone(estimator))])
    model.fit(zoo.MATRIX, target)
    with pytest.raises(ConversionError) as caught:
        mlops_kit.export(model, sample=zoo.MATRIX, out=tmp_path / "bundle")
    assert word in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_step_of_an_unsupported_estimator_is_named() -> None:
    inner = pipeline.Pipeline([("mine", Doubling()), ("scale", preprocessing.StandardScaler())])
    model = pipeline.make_pipeline(compose.ColumnTransformer([("numbers", inner, [0, 1])]), linear_model.Ridge())
    model.fit(zoo.MATRIX, zoo.SCORE)
    with pytest.raises(ConversionError, match="step 'columntransformer/numbers/mine'"):
        next(iter(exporter.adapt(model, read_sample(zoo.MATRIX)).conversions()))


def test_model_that_is_not_fitted() -> None:
    with pytest.raises(ConversionError, match="fit it first"):
        exporter.adapt(linear_model.Ridge(), None)


DIGEST = """
import hashlib, pickle, sys
from mlops_kit.exporters.sklearn import exporter
from mlops_kit.exporters.samples import read_sample
model, sample = pickle.load(open(sys.argv[1], "rb"))
for conversion in exporter.adapt(model, read_sample(sample)).conversions():
    print(hashlib.sha256(conversion.graph.SerializeToString()).hexdigest())
"""


def test_same_bytes_in_every_process(tmp_path: Path) -> None:
    members = [
        ("knn", neighbors.KNeighborsClassifier()),
        ("forest", ensemble.RandomForestClassifier(n_estimators=3)),
    ]
    model = pipeline.make_pipeline(zoo.prepare_flights(), ensemble.VotingClassifier(members, voting="soft"))
    model.fit(zoo.FLIGHTS, zoo.CLASS_OF_DELAY)
    file = tmp_path / "model.pickle"
    file.write_bytes(pickle.dumps((model, zoo.FLIGHTS)))
    outputs = [
        subprocess.run(
            [sys.executable, "-c", DIGEST, str(file)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    here = exporter.adapt(model, read_sample(zoo.FLIGHTS)).conversions()
    digests = [hashlib.sha256(conversion.graph.SerializeToString()).hexdigest() for conversion in here]
    assert outputs == ["\n".join(digests) + "\n"] * 2


def test_recognises_scikit_learn_only() -> None:
    assert exporter.recognises(linear_model.Ridge())
    assert exporter.recognises(pipeline.make_pipeline(linear_model.Ridge()))
    assert not exporter.recognises({"coef_": 1})
    assert not exporter.recognises_file(Path("model.pkl"), b"\x80\x04")


def test_there_is_no_file_format() -> None:
    with pytest.raises(SourceError, match="no file format of its own"):
        exporter.read(Path("model.sav"))
