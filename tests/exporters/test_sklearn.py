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
    feature_extraction,
    gaussian_process,
    impute,
    linear_model,
    manifold,
    naive_bayes,
    neighbors,
    pipeline,
    preprocessing,
    svm,
)

import mlops_kit
from mlops_kit.errors import ConversionError, InputError, MissingColumnsError, SampleError, SourceError
from mlops_kit.exporters import sklearn as exporter
from mlops_kit.exporters.samples import read_sample
from mlops_kit.frames import columns_of, to_polars
from mlops_kit.schema import Array, Columns
from tests.exporters import sklearn_zoo as zoo

BEHIND_TEXT = {
    name: case
    for name, case in {**zoo.REGRESSORS, **zoo.CLASSIFIERS}.items()
    if name not in zoo.SAME_IN_A_PIPELINE
}
ALONE = {**zoo.REGRESSORS, **zoo.CLASSIFIERS, **zoo.TRANSFORMERS}
TOLERANCE = {"BernoulliNB": 1e-6, "GradientBoostingRegressor from a ridge": 1e-5, "KNNImputer": 1e-5}
"""The first and the last are skl2onnx's, in float32; in the second scikit-learn itself computes in float32."""


def exported_answers(model: Any, sample: Any, folder: Path, rows: Any = None) -> Columns:
    """What the exported model answers to the sample, or to other rows."""
    mlops_kit.export(model, sample=sample, out=folder / "bundle")
    return predict(folder, sample if rows is None else rows)


def predict(folder: Path, rows: Any) -> Columns:
    if isinstance(rows, np.ndarray):
        rows = {f"x{i}": rows[:, i] for i in range(rows.shape[1])}
    columns = rows if isinstance(rows, dict) else columns_of(to_polars(rows))[0]
    answers: Columns = mlops_kit.load(folder / "bundle").predict(columns)
    return answers


def assert_same(want: Columns, got: Columns, tolerance: float = 1e-9) -> None:
    """The same columns (by position, where the wanted ones have only numbers for names) with the same values."""
    if not all(isinstance(name, int) for name in want):
        assert list(want) == [name for name in got if name in want]
        got = {name: got[name] for name in want}
    assert len(want) == len(got)
    for expected, values in zip(want.values(), got.values(), strict=True):
        if expected.dtype.kind in "OUb":
            assert expected.astype(str).tolist() == values.astype(str).tolist()
        else:
            np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)


def tolerance_of(name: str) -> float:
    return TOLERANCE.get(name.split(",")[0], 1e-9)


@pytest.mark.parametrize("name", ALONE)
def test_estimator_alone(name: str, tmp_path: Path) -> None:
    estimator, target = ALONE[name]
    model = base.clone(estimator).fit(zoo.MATRIX, zoo.TARGETS[target])
    assert_same(
        zoo.own_answers(model, zoo.MATRIX), exported_answers(model, zoo.MATRIX, tmp_path), tolerance_of(name)
    )


@pytest.mark.parametrize("name", BEHIND_TEXT)
def test_estimator_behind_text_and_missing_values(name: str, tmp_path: Path) -> None:
    estimator, target = BEHIND_TEXT[name]
    model = pipeline.make_pipeline(zoo.prepare_flights(), base.clone(estimator))
    model.fit(zoo.FLIGHTS, zoo.flight_target(target))
    answers = exported_answers(model, zoo.FLIGHTS, tmp_path)
    assert_same(zoo.own_answers(model, zoo.FLIGHTS), answers, tolerance_of(name))


@pytest.mark.parametrize("name", zoo.DETECTORS)
def test_clusters_and_outliers(name: str, tmp_path: Path) -> None:
    model = base.clone(zoo.DETECTORS[name]).fit(zoo.MATRIX)
    answers = exported_answers(model, zoo.MATRIX, tmp_path)
    assert_same(zoo.own_answers(model, zoo.MATRIX), answers)
    if "score" in answers:
        np.testing.assert_allclose(answers["score"], model.decision_function(zoo.MATRIX), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", zoo.ENCODERS)
def test_encoder_of_text(name: str, tmp_path: Path) -> None:
    texts = zoo.FLIGHTS[["carrier", "origin"]]
    model = base.clone(zoo.ENCODERS[name]).fit(texts, zoo.CLASS_OF_DELAY == "late")
    assert_same(zoo.own_answers(model, texts), exported_answers(model, texts, tmp_path))


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
        assert_same(zoo.own_answers(model, unseen), predict(tmp_path, unseen))


def test_isotonic_regression_takes_one_column(tmp_path: Path) -> None:
    estimator, target = zoo.COLUMN["IsotonicRegression"]
    column = zoo.MATRIX[:, :1]
    model = estimator.fit(column, zoo.TARGETS[target])
    assert_same(zoo.own_answers(model, column), exported_answers(model, column, tmp_path))


def test_naive_bayes_of_categories(tmp_path: Path) -> None:
    counts = np.round(zoo.MATRIX)
    model = naive_bayes.CategoricalNB(min_categories=40).fit(counts, zoo.LEVEL)
    assert_same(zoo.own_answers(model, counts), exported_answers(model, counts, tmp_path), 1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", ["truth", "level"])
def test_probabilities_of_support_vectors(target: str, tmp_path: Path) -> None:
    model = svm.SVC(probability=True, random_state=0).fit(zoo.MATRIX, zoo.TARGETS[target])
    assert_same(zoo.own_answers(model, zoo.MATRIX), exported_answers(model, zoo.MATRIX, tmp_path), 1e-5)


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
    assert_same(zoo.own_answers(model, integers), exported_answers(model, integers, tmp_path))


def test_large_integers_are_told_apart_as_categories(tmp_path: Path) -> None:
    keys = pd.DataFrame({"key": np.array([2**24, 2**24 + 1, 2**53 - 1, 7] * 5)})
    model = pipeline.make_pipeline(preprocessing.OneHotEncoder(), linear_model.Ridge()).fit(keys, np.arange(20))
    assert_same(zoo.own_answers(model, keys), exported_answers(model, keys, tmp_path))


def test_single_precision_is_computed_in_single_precision(tmp_path: Path) -> None:
    matrix = zoo.MATRIX.astype(np.float32)
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), zoo.stump()).fit(matrix, zoo.SCORE)
    assert_same(zoo.own_answers(model, matrix), exported_answers(model, matrix, tmp_path), 1e-6)
    assert mlops_kit.load(tmp_path / "bundle").signature.tensors[0].dtype == "float32"


SCORE_OF_CARRIER = zoo.FLIGHTS["carrier"].map({"AA": 1, "UA": 5, "DL": 0, "Ünited": 4}) + zoo.DELAY


def test_splits_on_sets_of_categories(tmp_path: Path) -> None:
    frame = zoo.FLIGHTS.astype({"carrier": "category", "origin": "category"})
    model = ensemble.HistGradientBoostingRegressor(max_iter=10, min_samples_leaf=3).fit(frame, SCORE_OF_CARRIER)
    assert any(p.nodes["is_categorical"].any() for stage in model._predictors for p in stage)
    answers = exported_answers(model, frame, tmp_path, zoo.FLIGHTS)
    assert_same(zoo.own_answers(model, frame), answers)


def test_missing_text_as_none_and_as_nan(tmp_path: Path) -> None:
    encoder = preprocessing.OneHotEncoder(handle_unknown="ignore")
    for number, missing in enumerate([None, np.nan]):
        texts = pd.DataFrame({"origin": pd.Series(["EWR", missing, "nan", "None", ""] * 4, dtype=object)})
        model = pipeline.make_pipeline(base.clone(encoder), linear_model.Ridge()).fit(texts, np.arange(20) % 5)
        answers = exported_answers(model, texts, tmp_path / str(number))
        assert_same({"prediction": model.predict(texts)}, answers)


def test_text_and_numbers_in_one_encoder(tmp_path: Path) -> None:
    encoder = preprocessing.OneHotEncoder(handle_unknown="ignore")
    columns = compose.ColumnTransformer([("all", encoder, ["carrier", "month", "is_late"])])
    model = pipeline.make_pipeline(columns, linear_model.Ridge()).fit(zoo.FLIGHTS, zoo.DELAY)
    assert_same(zoo.own_answers(model, zoo.FLIGHTS), exported_answers(model, zoo.FLIGHTS, tmp_path))


REVIEWS = pd.DataFrame({
    "review": ["Good movie, very GOOD", "bad film not good at all", "so-so I guess", "", "Éclair était naïf", "x1 y2"] * 3,
    "stars": np.arange(18) % 5,
})  # fmt: skip


@pytest.mark.parametrize(
    "vectorizer",
    [
        feature_extraction.text.TfidfVectorizer(),
        feature_extraction.text.TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        feature_extraction.text.CountVectorizer(binary=True, lowercase=False),
        feature_extraction.text.CountVectorizer(ngram_range=(2, 2), stop_words=None),
        feature_extraction.text.CountVectorizer(stop_words="english", token_pattern=r"(?u)\b\w+\b"),
    ],
    ids=["tfidf", "tfidf of pairs", "binary", "pairs", "stop words"],
)
def test_words(vectorizer: Any, tmp_path: Path) -> None:
    model = pipeline.make_pipeline(base.clone(vectorizer), linear_model.LogisticRegression())
    model.fit(REVIEWS["review"], REVIEWS["stars"] > 2)
    answers = exported_answers(model, REVIEWS[["review"]], tmp_path)
    assert_same(zoo.own_answers(model, REVIEWS["review"]), answers)


def test_words_beside_numbers(tmp_path: Path) -> None:
    words = feature_extraction.text.TfidfVectorizer()
    columns = compose.ColumnTransformer([("w", words, "review"), ("n", preprocessing.StandardScaler(), ["stars"])])
    model = pipeline.make_pipeline(columns, linear_model.Ridge()).fit(REVIEWS, REVIEWS["stars"] * 2.0)
    assert_same(zoo.own_answers(model, REVIEWS), exported_answers(model, REVIEWS, tmp_path))


@pytest.mark.parametrize(
    ("library", "kind"),
    [("xgboost", "XGBRegressor"), ("xgboost", "XGBClassifier"), ("lightgbm", "LGBMRegressor"), ("lightgbm", "LGBMClassifier")],
)  # fmt: skip
@pytest.mark.parametrize("is_sparse", [True, False], ids=["sparse", "dense"])
def test_boosters_inside_of_a_pipeline(library: str, kind: str, is_sparse: bool, tmp_path: Path) -> None:
    booster = getattr(pytest.importorskip(library), kind)(n_estimators=8, n_jobs=1, verbosity=0)
    columns = zoo.prepare_flights().set_params(sparse_threshold=1 if is_sparse else 0)
    target = zoo.DELAY if kind.endswith("Regressor") else zoo.flight_target("number") // 2 + 1
    model = pipeline.make_pipeline(columns, booster).fit(zoo.FLIGHTS, target)
    assert_same(zoo.own_answers(model, zoo.FLIGHTS), exported_answers(model, zoo.FLIGHTS, tmp_path), 1e-6)


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


def test_column_that_the_sample_lacks() -> None:
    model = pipeline.make_pipeline(zoo.prepare_flights(), linear_model.Ridge()).fit(zoo.FLIGHTS, zoo.DELAY)
    sample = read_sample(zoo.FLIGHTS.rename(columns={"distance": "distanze"}))
    with pytest.raises(MissingColumnsError, match="did you mean 'distanze' for 'distance'"):
        exporter.adapt(model, sample)


def test_wrong_number_of_nameless_columns() -> None:
    model = linear_model.Ridge().fit(zoo.MATRIX, zoo.SCORE)
    with pytest.raises(SampleError, match="takes 4"):
        exporter.adapt(model, read_sample({"a": np.ones(2), "b": np.ones(2)}))


def test_text_needs_a_sample() -> None:
    model = pipeline.make_pipeline(zoo.prepare_flights(), linear_model.Ridge()).fit(zoo.FLIGHTS, zoo.DELAY)
    with pytest.raises(SampleError, match="--sample FILE"):
        exporter.adapt(model, None)


def test_numbers_need_no_sample(tmp_path: Path) -> None:
    frame = pd.DataFrame(zoo.MATRIX, columns=["a", "b", "c", "d"])
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge()).fit(frame, zoo.SCORE)
    mlops_kit.export(model, out=tmp_path / "bundle")
    assert_same({"prediction": model.predict(frame)}, predict(tmp_path, frame))


def test_columns_beyond_the_models_are_ignored(tmp_path: Path) -> None:
    frame = zoo.FLIGHTS[["distance", "is_late"]]
    model = linear_model.Ridge().fit(frame, zoo.DELAY)
    assert_same({"prediction": model.predict(frame)}, exported_answers(model, zoo.FLIGHTS, tmp_path))


def test_dropped_columns_are_not_asked_for(tmp_path: Path) -> None:
    columns = compose.ColumnTransformer([("n", impute.SimpleImputer(), ["temperature", "distance"])])
    model = pipeline.make_pipeline(columns, linear_model.Ridge()).fit(zoo.FLIGHTS, zoo.DELAY)
    needed = zoo.FLIGHTS[["distance", "temperature"]]
    assert_same({"prediction": model.predict(zoo.FLIGHTS)}, exported_answers(model, needed, tmp_path))


def test_numbers_enter_as_one_matrix_and_text_by_column() -> None:
    frame = zoo.FLIGHTS[["distance", "month", "is_late"]]
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge()).fit(frame, zoo.DELAY)
    (tensor,) = signature_of(model, frame).tensors
    assert tensor.columns == ("distance", "month", "is_late")
    model = pipeline.make_pipeline(zoo.prepare_flights(), linear_model.Ridge()).fit(zoo.FLIGHTS, zoo.DELAY)
    assert [tensor.columns for tensor in signature_of(model, zoo.FLIGHTS).tensors] == [(n,) for n in zoo.FLIGHTS]


def test_column_called_like_an_output(tmp_path: Path) -> None:
    frame = pd.DataFrame({"prediction": zoo.MATRIX[:, 0], "probability_True": zoo.FLIGHTS["carrier"]})
    columns = compose.ColumnTransformer(
        [("t", preprocessing.OneHotEncoder(), ["probability_True"])], remainder="passthrough"
    )
    model = pipeline.make_pipeline(columns, linear_model.LogisticRegression()).fit(frame, zoo.IS_HIGH)
    assert_same(zoo.own_answers(model, frame), exported_answers(model, frame, tmp_path))


def signature_of(model: Any, sample: Any) -> Any:
    return next(iter(exporter.adapt(model, read_sample(sample)).conversions())).signature


DIGEST = """
import hashlib, pickle, sys
from mlops_kit.exporters import sklearn as exporter
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
