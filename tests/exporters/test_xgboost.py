"""XGBoost models answer as the original: its float32 sums to the bit, its probabilities to the last digit or so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlops_kit
from mlops_kit.errors import ConversionError, SampleError, SourceError
from mlops_kit.exporters.interface import Sample
from mlops_kit.exporters.xgboost import exporter
from mlops_kit.schema import Array
from tests.exporters.boosting import (
    LEVEL,
    MATRIX,
    RANDOM,
    ROWS,
    SCORE,
    columns,
    convert_here,
    convert_in_process,
    export,
    predict,
    probabilities,
)

xgboost = pytest.importorskip("xgboost", reason="XGBoost is not installed (extra xgboost)")
pd = pytest.importorskip("pandas")

SMALL: dict[str, Any] = {"n_estimators": 12, "max_depth": 4, "n_jobs": 1, "random_state": 0}
TWO = np.stack([SCORE, -SCORE], axis=1)

REGRESSIONS: dict[str, tuple[dict[str, Any], Array]] = {
    "squares": ({}, SCORE),
    "base score": ({"base_score": 3.3}, SCORE),
    "logistic": ({"objective": "reg:logistic"}, 1 / (1 + np.exp(-SCORE))),
    "absolute": ({"objective": "reg:absoluteerror"}, SCORE),
    "poisson": ({"objective": "count:poisson"}, np.abs(SCORE)),
    "tweedie": ({"objective": "reg:tweedie", "base_score": 2.0}, np.abs(SCORE)),
    "gamma": ({"objective": "reg:gamma"}, np.abs(SCORE) + 0.1),
    "cox": ({"objective": "survival:cox"}, np.abs(SCORE) + 0.1),
    "dart": ({"booster": "dart", "rate_drop": 0.5}, SCORE),
    "parallel trees": ({"num_parallel_tree": 3, "subsample": 0.7}, SCORE),
    "quantiles": ({"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]}, SCORE),
    "two targets": ({}, TWO),
    "two targets in one tree": ({"multi_strategy": "multi_output_tree"}, TWO),
    "a constant": ({}, np.full(ROWS, 3.5)),
}

CLASSIFICATIONS: dict[str, tuple[dict[str, Any], Array]] = {
    "two classes": ({}, SCORE > 0.5),
    "base score": ({"base_score": 0.1}, SCORE > 0.5),
    "a rare class": ({"n_estimators": 60}, np.arange(ROWS) % 150 == 0),
    "raw scores": ({"objective": "binary:logitraw"}, SCORE > 0.5),
    "hinge": ({"objective": "binary:hinge"}, SCORE > 0.5),
    "three classes": ({}, LEVEL),
    "softmax": ({"objective": "multi:softmax"}, LEVEL),
}


@pytest.mark.parametrize("case", REGRESSIONS)
def test_regressor_answers_as_the_original(case: str, tmp_path: Path) -> None:
    parameters, target = REGRESSIONS[case]
    model = xgboost.XGBRegressor(**SMALL | parameters).fit(MATRIX, target)
    bundle = export(model, columns(), tmp_path)
    assert bundle.manifest.row_block == 1
    answers = np.stack(list(predict(bundle, columns()).values()), axis=1)
    np.testing.assert_allclose(answers, model.predict(MATRIX).reshape(answers.shape), rtol=5e-7, atol=2e-7)


@pytest.mark.parametrize("case", CLASSIFICATIONS)
def test_classifier_gives_labels_and_probabilities(case: str, tmp_path: Path) -> None:
    parameters, target = CLASSIFICATIONS[case]
    model = xgboost.XGBClassifier(**SMALL | parameters).fit(MATRIX, target)
    bundle = export(model, columns(), tmp_path)
    assert bundle.manifest.row_block == 1
    answers = predict(bundle, columns())
    assert answers["prediction"].tolist() == model.predict(MATRIX).tolist()
    got = probabilities(answers, model.classes_)
    np.testing.assert_allclose(got, model.predict_proba(MATRIX), rtol=5e-6, atol=6e-8)


@pytest.mark.parametrize("objective", ["multi:softmax", "multi:softprob"])
def test_booster_of_a_classification_gives_the_label_too(objective: str, tmp_path: Path) -> None:
    data = xgboost.DMatrix(MATRIX, LEVEL)
    model = xgboost.train({"objective": objective, "num_class": 3}, data, 8)
    answers = predict(export(model, columns(), tmp_path), columns())
    want = model.predict(data)
    if objective == "multi:softmax":
        assert answers["prediction"].tolist() == want.tolist()
    else:
        np.testing.assert_allclose(probabilities(answers, range(3)), want, rtol=1e-6)


def test_booster_of_raw_scores_gives_those(tmp_path: Path) -> None:
    data = xgboost.DMatrix(MATRIX, SCORE > 0.5)
    model = xgboost.train({"objective": "binary:logitraw", "base_score": 0.3}, data, 8)
    answers = predict(export(model, columns(), tmp_path), columns())
    assert np.array_equal(answers["prediction"], model.predict(data))


def test_ranker_gives_scores(tmp_path: Path) -> None:
    model = xgboost.XGBRanker(**SMALL).fit(MATRIX, LEVEL, qid=np.repeat(np.arange(ROWS // 20), 20))
    answers = predict(export(model, columns(), tmp_path), columns())
    assert np.array_equal(answers["prediction"], model.predict(MATRIX))


def test_numbers_next_to_thresholds_and_large_integers_never_change_sides(tmp_path: Path) -> None:
    matrix = np.stack([RANDOM.integers(0, 10**8, ROWS), RANDOM.normal(size=ROWS)], axis=1)
    model = xgboost.XGBRegressor(**SMALL).fit(matrix, matrix[:, 0] % 1000 + matrix[:, 1])
    bundle = export(model, columns(matrix), tmp_path)
    at = RANDOM.choice(model.get_booster().trees_to_dataframe()["Split"].dropna().to_numpy(np.float32), (5000, 2))
    near = np.choose(RANDOM.integers(0, 3, at.shape), [at, np.nextafter(at, 9e9), np.nextafter(at, -9e9)])
    near[::2, 0] = np.floor(near[::2, 0]) + 1
    assert np.array_equal(predict(bundle, columns(near))["prediction"], model.predict(near))


@pytest.mark.parametrize("are_missing_at_training", [True, False])
def test_missing_values_go_where_they_went(are_missing_at_training: bool, tmp_path: Path) -> None:
    matrix = MATRIX if are_missing_at_training else np.nan_to_num(MATRIX)
    model = xgboost.XGBRegressor(**SMALL).fit(matrix, SCORE)
    bundle = export(model, columns(matrix), tmp_path)
    rows = np.where(RANDOM.random(MATRIX.shape) < 0.4, np.nan, MATRIX)
    assert np.array_equal(predict(bundle, columns(rows))["prediction"], model.predict(rows))


def test_a_number_may_mean_missing(tmp_path: Path) -> None:
    matrix = np.where(np.isnan(MATRIX), -999, MATRIX)
    model = xgboost.XGBRegressor(**SMALL, missing=-999).fit(matrix, SCORE)
    bundle = export(model, columns(matrix), tmp_path)
    rows = np.where(RANDOM.random(MATRIX.shape) < 0.4, -999, matrix)
    rows[::5, 0] = np.nan
    assert np.array_equal(predict(bundle, columns(rows))["prediction"], model.predict(rows))


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("kind", ["XGBRegressor", "XGBClassifier"])
def test_early_stopping_is_honoured_as_the_original_does(kind: str, parallel: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).normal(size=ROWS)
    target = (SCORE + noise * 3) if kind == "XGBRegressor" else np.digitize(SCORE + noise, [0.0, 1.0])
    stops = {"n_estimators": 60, "num_parallel_tree": parallel, "early_stopping_rounds": 3, "subsample": 0.7}
    model = getattr(xgboost, kind)(**SMALL | stops)
    model.fit(MATRIX[:300], target[:300], eval_set=[(MATRIX[300:], target[300:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "model.ubj")
    for name, source in {"model": model, "file": tmp_path / "model.ubj", "booster": model.get_booster()}.items():
        answers = predict(export(source, columns(), tmp_path / name), columns())
        if name == "booster":
            want = model.get_booster().predict(xgboost.DMatrix(MATRIX))
        else:
            want = model.predict(MATRIX) if kind == "XGBRegressor" else model.predict_proba(MATRIX)
        got = answers["prediction"] if want.ndim == 1 else probabilities(answers, range(3))
        np.testing.assert_allclose(got, want, rtol=1e-6)


def categories_frame(count: int) -> Any:
    names = np.array([f"c{index:03d}" for index in range(count)])
    category = pd.Categorical(names[RANDOM.integers(0, count, ROWS)])
    frame = pd.DataFrame({"name": category, "a number": MATRIX[:, 1]})
    frame["code"] = pd.Categorical(RANDOM.integers(0, count, ROWS) * 7 - 5)
    frame.loc[::11, "name"] = None
    return frame


@pytest.mark.parametrize("one_hot", [1, 1000], ids=["sets", "one by one"])
@pytest.mark.parametrize("count", [3, 40, 300])
def test_pandas_categories(count: int, one_hot: int, tmp_path: Path) -> None:
    frame = categories_frame(count)
    target = np.sin(frame["name"].cat.codes * 5) + np.sin(frame["code"].cat.codes * 5)
    model = xgboost.XGBRegressor(**SMALL, enable_categorical=True, max_cat_to_onehot=one_hot).fit(frame, target)
    bundle = export(model, frame, tmp_path)
    names = np.array([*frame["name"].cat.categories, None], object)
    rows: dict[str, Array] = {
        "name": RANDOM.choice(names, ROWS),
        "a number": np.where(RANDOM.random(ROWS) < 0.3, np.nan, MATRIX[:, 1]),
        "code": RANDOM.permutation(frame["code"].to_numpy()),
    }
    asked = {name: values if name == "a number" else pd.Categorical(values) for name, values in rows.items()}
    assert np.array_equal(predict(bundle, rows)["prediction"], model.predict(pd.DataFrame(asked)))


def test_unseen_category_is_treated_as_missing(tmp_path: Path) -> None:
    """XGBoost refuses it, or takes another category for it; a graph cannot refuse."""
    frame = categories_frame(5)
    model = xgboost.XGBRegressor(**SMALL, enable_categorical=True).fit(frame, SCORE)
    bundle = export(model, frame, tmp_path)
    assert any("'name'" in note for note in bundle.manifest.parity.notes)
    rows = {"a number": MATRIX[:, 1], "name": np.full(ROWS, None), "code": frame["code"].to_numpy()}
    missing = predict(bundle, rows)["prediction"]
    assert np.array_equal(predict(bundle, rows | {"name": np.full(ROWS, "unseen", object)})["prediction"], missing)


def test_category_codes_given_as_numbers(tmp_path: Path) -> None:
    matrix = np.stack([RANDOM.integers(0, 50, ROWS), RANDOM.integers(0, 5, ROWS)], axis=1).astype(float)
    data = xgboost.DMatrix(matrix, np.sin(matrix[:, 0] * 5), feature_types=["c", "c"], enable_categorical=True)
    model = xgboost.train({"max_depth": 4}, data, 10)
    bundle = export(model, columns(matrix), tmp_path)
    rows = RANDOM.choice([0, 1, 1.5, 4.99, 49, 50, 1e8, -3, np.nan], (2000, 2))
    want = model.predict(xgboost.DMatrix(rows, feature_types=["c", "c"], enable_categorical=True))
    assert np.array_equal(predict(bundle, columns(rows))["prediction"], want)


def test_text_for_a_model_that_only_knows_codes_is_refused() -> None:
    matrix = np.stack([RANDOM.integers(0, 9, ROWS), MATRIX[:, 0]], axis=1)
    data = xgboost.DMatrix(matrix, SCORE, feature_types=["c", "q"], enable_categorical=True)
    model = xgboost.train({}, data, 2)
    sample = Sample({"x0": np.full(ROWS, "a", object), "x1": MATRIX[:, 0]})
    with pytest.raises(ConversionError, match="only their codes"):
        exporter.adapt(model, sample)


def test_categories_that_xgboost_stores_damaged_are_refused() -> None:
    frame = pd.DataFrame({"city": pd.Categorical(RANDOM.choice(["Köln", "Bonn"], ROWS)), "x": MATRIX[:, 0]})
    model = xgboost.XGBRegressor(**SMALL, enable_categorical=True).fit(frame, SCORE)
    with pytest.raises(ConversionError, match="ASCII"):
        exporter.adapt(model, None)


@pytest.mark.parametrize(
    ("parameters", "target", "says"),
    [({"booster": "gblinear"}, SCORE, "gblinear"), ({"kind": "XGBClassifier"}, TWO > 0.5, "several labels")],
)
def test_models_without_a_form_are_refused(
    parameters: dict[str, Any], target: Array, says: str, tmp_path: Path
) -> None:
    kind = parameters.get("kind", "XGBRegressor")
    options = {key: value for key, value in parameters.items() if key != "kind"}
    model = getattr(xgboost, kind)(**SMALL | options).fit(np.nan_to_num(MATRIX), target)
    with pytest.raises(ConversionError, match=says):
        mlops_kit.export(model, sample=columns(), out=tmp_path / "bundle")


def test_sample_with_another_number_of_columns() -> None:
    model = xgboost.XGBRegressor(**SMALL).fit(MATRIX, SCORE)
    with pytest.raises(SampleError, match="3 columns, and the model takes 4"):
        exporter.adapt(model, Sample(columns(MATRIX[:, :3])))


def test_estimator_without_fit_is_refused() -> None:
    with pytest.raises(SourceError, match="not fitted"):
        exporter.adapt(xgboost.XGBRegressor(), None)


@pytest.mark.parametrize("suffix", ["json", "ubj"])
@pytest.mark.parametrize("kind", ["XGBRegressor", "XGBClassifier", "Booster"])
def test_file_becomes_what_it_was_saved_from(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    estimator = getattr(xgboost, "XGBRegressor" if kind == "Booster" else kind)(**SMALL)
    estimator.fit(MATRIX, SCORE if kind != "XGBClassifier" else LEVEL)
    (estimator.get_booster() if kind == "Booster" else estimator).save_model(path)
    assert exporter.recognises_file(path, path.read_bytes()[:4096])
    assert type(exporter.read(path)).__name__ == kind


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_cut_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    xgboost.XGBRegressor(**SMALL).fit(MATRIX, SCORE).save_model(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(SourceError, match="cannot read"):
        exporter.read(path)


def test_former_binary_format_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"binf\x00\x00\x00\x3f" + bytes(200))
    assert exporter.recognises_file(path, path.read_bytes())
    with pytest.raises(SourceError, match=r"model\.json"):
        exporter.read(path)


def test_conversion_is_the_same_in_every_process(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    frame = categories_frame(40)
    xgboost.XGBRegressor(**SMALL, enable_categorical=True).fit(frame, SCORE).save_model(path)
    assert convert_in_process(path, hash_seed=1) == convert_here(path)
