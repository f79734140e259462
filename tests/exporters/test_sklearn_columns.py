"""scikit-learn pipelines over columns of all kinds: which they ask for, how they enter, text and boosters."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import base, compose, feature_extraction, impute, linear_model, pipeline, preprocessing

import mlops_kit
from mlops_kit.errors import MissingColumnsError, SampleError
from mlops_kit.exporters.samples import read_sample
from mlops_kit.exporters.sklearn import exporter
from tests.exporters import sklearn_zoo as zoo
from tests.exporters.sklearn_answers import assert_same, exported_answers, own_answers, predict

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")


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
    assert_same(own_answers(model, zoo.FLIGHTS), exported_answers(model, zoo.FLIGHTS, tmp_path))


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
    assert_same(own_answers(model, REVIEWS["review"]), answers)


def test_words_beside_numbers(tmp_path: Path) -> None:
    words = feature_extraction.text.TfidfVectorizer()
    columns = compose.ColumnTransformer([("w", words, "review"), ("n", preprocessing.StandardScaler(), ["stars"])])
    model = pipeline.make_pipeline(columns, linear_model.Ridge()).fit(REVIEWS, REVIEWS["stars"] * 2.0)
    assert_same(own_answers(model, REVIEWS), exported_answers(model, REVIEWS, tmp_path))


BOOSTERS: dict[str, dict[str, Any]] = {
    "catboost": {"iterations": 8, "thread_count": 1, "silent": True, "allow_writing_files": False},
    "lightgbm": {"n_estimators": 8, "n_jobs": 1, "verbosity": -1},
    "xgboost": {"n_estimators": 8, "n_jobs": 1},
}


@pytest.mark.parametrize("is_sparse", [True, False], ids=["sparse", "dense"])
@pytest.mark.parametrize(
    "kind",
    [
        "CatBoostClassifier",
        "CatBoostRegressor",
        "LGBMClassifier",
        "LGBMRegressor",
        "XGBClassifier",
        "XGBRegressor",
    ],
)
def test_boosters_inside_of_a_pipeline(kind: str, is_sparse: bool, tmp_path: Path) -> None:
    library = {"C": "catboost", "L": "lightgbm", "X": "xgboost"}[kind[0]]
    booster = getattr(pytest.importorskip(library), kind)(**BOOSTERS[library])
    columns = zoo.prepare_flights().set_params(sparse_threshold=1 if is_sparse else 0)
    target = zoo.DELAY if kind.endswith("Regressor") else zoo.flight_target("number") // 2 + 1
    model = pipeline.make_pipeline(columns, booster).fit(zoo.FLIGHTS, target)
    assert_same(own_answers(model, zoo.FLIGHTS), exported_answers(model, zoo.FLIGHTS, tmp_path), 1e-6)


def test_factor_beside_a_matrix_product(tmp_path: Path) -> None:
    """ONNX Runtime merges the two, and would make the factor a float32."""
    union = pipeline.FeatureUnion([("s", preprocessing.MinMaxScaler())], transformer_weights={"s": 0.3})
    model = pipeline.make_pipeline(union, linear_model.Ridge()).fit(zoo.MATRIX, zoo.SCORE)
    assert_same({"prediction": model.predict(zoo.MATRIX)}, exported_answers(model, zoo.MATRIX, tmp_path), 1e-12)


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
    assert_same(own_answers(model, frame), exported_answers(model, frame, tmp_path))


def signature_of(model: Any, sample: Any) -> Any:
    return next(iter(exporter.adapt(model, read_sample(sample)).conversions())).signature
