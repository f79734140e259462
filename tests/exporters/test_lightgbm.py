"""LightGBM models answer with the bits of the original, whatever the rows."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlops_kit
from mlops_kit.errors import ConversionError, MissingColumnsError, SampleError, SourceError
from mlops_kit.exporters.interface import Sample
from mlops_kit.exporters.lightgbm import exporter
from mlops_kit.schema import Array, Columns
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

lightgbm = pytest.importorskip("lightgbm", reason="LightGBM is not installed (extra lightgbm)")
pd = pytest.importorskip("pandas")

SMALL: dict[str, Any] = {"n_estimators": 12, "num_leaves": 15, "verbose": -1, "n_jobs": 1, "random_state": 0}
FOREST = {"boosting_type": "rf", "subsample": 0.7, "subsample_freq": 1}
CATEGORIES = {"min_child_samples": 2, "min_data_per_group": 2, "cat_smooth": 1, "cat_l2": 1}

REGRESSIONS: dict[str, tuple[dict[str, Any], Array]] = {
    "l2": ({}, SCORE),
    "l1": ({"objective": "l1"}, SCORE),
    "huber": ({"objective": "huber"}, SCORE),
    "quantile": ({"objective": "quantile", "alpha": 0.8}, SCORE),
    "poisson": ({"objective": "poisson"}, np.abs(SCORE)),
    "tweedie": ({"objective": "tweedie"}, np.abs(SCORE)),
    "gamma": ({"objective": "gamma"}, np.abs(SCORE) + 0.1),
    "cross entropy": ({"objective": "cross_entropy"}, 1 / (1 + np.exp(-SCORE))),
    "cross entropy lambda": ({"objective": "cross_entropy_lambda"}, 1 / (1 + np.exp(-SCORE))),
    "square root": ({"reg_sqrt": True}, SCORE * 10),
    "random forest": (FOREST, SCORE),
    "dart": ({"boosting_type": "dart"}, SCORE),
    "no missing values": ({"use_missing": False}, SCORE),
    "zero as missing": ({"zero_as_missing": True}, SCORE),
    "a constant": ({}, np.full(ROWS, 3.5)),
}

CLASSIFICATIONS: dict[str, tuple[dict[str, Any], Array]] = {
    "text": ({}, np.where(SCORE > 0.5, "yes", "no")),
    "booleans": ({"sigmoid": 2.5}, SCORE > 0.5),
    "integers": ({}, (SCORE > 0.5) * 3 - 1),
    "a rare class": ({"n_estimators": 60}, np.arange(ROWS) % 150 == 0),
    "a forest": (FOREST, SCORE > 0.5),
    "three classes": ({}, LEVEL),
    "three names": ({}, np.array(["low", "mid", "high"])[LEVEL]),
    "one against all": ({"objective": "multiclassova", "sigmoid": 1.5}, LEVEL + 5),
    "a forest of three": (FOREST, LEVEL),
}


@pytest.mark.parametrize("case", REGRESSIONS)
def test_regressor_answers_as_the_original(case: str, tmp_path: Path) -> None:
    parameters, target = REGRESSIONS[case]
    model = lightgbm.LGBMRegressor(**SMALL | parameters).fit(MATRIX, target)
    bundle = export(model, columns(), tmp_path)
    # The logarithm of cross_entropy_lambda is the one function that depends on the batch in its last bits.
    assert bundle.manifest.row_block == (2 if case == "cross entropy lambda" else 1)
    answers = predict(bundle, columns())
    np.testing.assert_allclose(answers["prediction"], model.predict(MATRIX), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("case", CLASSIFICATIONS)
def test_classifier_gives_labels_and_probabilities(case: str, tmp_path: Path) -> None:
    parameters, target = CLASSIFICATIONS[case]
    model = lightgbm.LGBMClassifier(**SMALL | parameters).fit(MATRIX, target)
    bundle = export(model, columns(), tmp_path)
    assert bundle.manifest.row_block == 1
    answers = predict(bundle, columns())
    assert answers["prediction"].tolist() == model.predict(MATRIX).tolist()
    got = probabilities(answers, model.classes_)
    np.testing.assert_allclose(got, model.predict_proba(MATRIX), rtol=1e-12, atol=1e-15)


def test_booster_of_a_classification_gives_the_label_too(tmp_path: Path) -> None:
    data = lightgbm.Dataset(MATRIX, SCORE > 0.5)
    model = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 10)
    answers = predict(export(model, columns(), tmp_path), columns())
    want = model.predict(MATRIX)
    np.testing.assert_allclose(answers["probability_1"], want, rtol=1e-14)
    np.testing.assert_allclose(answers["probability_0"], 1 - want, rtol=1e-12)
    assert answers["prediction"].tolist() == (want > 0.5).astype(int).tolist()


def test_ranker_gives_scores(tmp_path: Path) -> None:
    model = lightgbm.LGBMRanker(**SMALL).fit(MATRIX, LEVEL, group=[20] * (ROWS // 20))
    answers = predict(export(model, columns(), tmp_path), columns())
    assert np.array_equal(answers["prediction"], model.predict(MATRIX))


def test_model_with_an_objective_in_python_gives_raw_scores(tmp_path: Path) -> None:
    def objective(scores: Array, data: Any) -> tuple[Array, Array]:
        return scores - data.get_label(), np.ones_like(scores)

    model = lightgbm.train({"objective": objective, "verbose": -1}, lightgbm.Dataset(MATRIX, SCORE), 5)
    answers = predict(export(model, columns(), tmp_path), columns())
    assert np.array_equal(answers["prediction"], model.predict(MATRIX))


def test_integers_up_to_1e8_never_change_sides(tmp_path: Path) -> None:
    matrix = RANDOM.integers(0, 10**8, (ROWS, 3))
    # As a frame: LightGBM itself rounds a NumPy matrix of integers to float32.
    target = matrix[:, 0] % 1000 + matrix[:, 1] / 1e6
    model = lightgbm.LGBMRegressor(**SMALL).fit(pd.DataFrame(columns(matrix)), target)
    bundle = export(model, columns(matrix), tmp_path)
    near = np.floor(RANDOM.choice(thresholds(model), (5000, 3))).astype(np.int64) + RANDOM.integers(
        0, 2, (5000, 3)
    )
    assert np.array_equal(predict(bundle, columns(near))["prediction"], model.predict(pd.DataFrame(columns(near))))


def test_neighbours_of_thresholds_never_change_sides(tmp_path: Path) -> None:
    model = lightgbm.LGBMRegressor(**SMALL).fit(MATRIX, SCORE)
    bundle = export(model, columns(), tmp_path)
    at = RANDOM.choice(thresholds(model), (5000, 4))
    near = np.choose(RANDOM.integers(0, 3, at.shape), [at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf)])
    assert np.array_equal(predict(bundle, columns(near))["prediction"], model.predict(near))


@pytest.mark.parametrize("parameters", [{}, {"zero_as_missing": True}, {"use_missing": False}], ids=str)
@pytest.mark.parametrize("are_missing_at_training", [True, False])
def test_missing_values_and_zeros_go_where_they_went(
    parameters: dict[str, Any], are_missing_at_training: bool, tmp_path: Path
) -> None:
    matrix = np.round(RANDOM.normal(size=(ROWS, 4)) * 2)
    matrix[:, 3] *= 1e-34
    target = np.where(matrix[:, 0] == 0, 3, matrix[:, 1]) + matrix[:, 2] * (matrix[:, 3] == 0)
    if are_missing_at_training:
        matrix[RANDOM.random(matrix.shape) < 0.2] = np.nan
    model = lightgbm.LGBMRegressor(**SMALL | parameters).fit(matrix, target)
    bundle = export(model, columns(matrix), tmp_path)
    hard = [0.0, -0.0, 1e-36, -1e-36, 2e-35, np.nan, 1.0, -1.0, 3.0, np.inf, -np.inf]
    rows = RANDOM.choice(hard, (5000, 4))
    assert np.array_equal(predict(bundle, columns(rows))["prediction"], model.predict(rows))


def categories_frame(count: int) -> Any:
    names = np.array([f"c{index:03d}" for index in range(count)])
    frame = pd.DataFrame({"name": pd.Categorical(names[RANDOM.integers(0, count, ROWS)]), "number": MATRIX[:, 1]})
    frame["code"] = pd.Categorical(RANDOM.integers(0, count, ROWS) * 7 - 5)
    frame["half"] = pd.Categorical(RANDOM.integers(0, count, ROWS) / 2)
    frame["size"] = pd.Categorical(RANDOM.choice(["S", "M", "L"], ROWS), ["S", "M", "L"], ordered=True)
    frame["is_new"] = pd.Categorical(RANDOM.random(ROWS) < 0.5)
    return frame


@pytest.mark.parametrize("count", [3, 40, 300])
def test_pandas_categories_with_unseen_and_missing_ones(count: int, tmp_path: Path) -> None:
    frame = categories_frame(count)
    codes = frame[["name", "code", "half", "size"]].apply(lambda column: column.cat.codes)
    target = np.sin(codes.to_numpy() * 5).sum(axis=1) + frame["is_new"].astype(float)
    model = lightgbm.LGBMRegressor(**SMALL | CATEGORIES).fit(frame, target)
    bundle = export(model, frame, tmp_path)
    rows: dict[str, Array] = {
        "name": RANDOM.choice(np.array([*frame["name"].cat.categories, "unseen", "", None], object), ROWS),
        "number": np.where(RANDOM.random(ROWS) < 0.3, np.nan, MATRIX[:, 1]),
        "code": RANDOM.choice([*frame["code"].cat.categories, -1000, 1000], ROWS),
        "half": RANDOM.choice([*frame["half"].cat.categories, np.nan, 0.25], ROWS),
        "size": RANDOM.choice(np.array(["S", "M", "L", "XL", None], object), ROWS),
        "is_new": RANDOM.random(ROWS) < 0.5,
    }
    asked = {name: values if name == "number" else pd.Categorical(values) for name, values in rows.items()}
    assert np.array_equal(predict(bundle, rows)["prediction"], model.predict(pd.DataFrame(asked)))


def test_categories_survive_the_model_file_without_a_sample(tmp_path: Path) -> None:
    frame = categories_frame(20)[["name", "number", "code"]]
    target = frame["name"].cat.codes % 3 + frame["code"].cat.codes % 2
    model = lightgbm.LGBMRegressor(**SMALL | CATEGORIES).fit(frame, target)
    model.booster_.save_model(tmp_path / "model.txt")
    bundle = export(tmp_path / "model.txt", None, tmp_path)
    rows = {
        "number": MATRIX[:, 1],
        "name": frame["name"].astype(object).to_numpy(),
        "code": frame["code"].to_numpy(),
    }
    assert np.array_equal(predict(bundle, rows)["prediction"], model.predict(frame))


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_category_codes_given_as_numbers(dtype: Any, tmp_path: Path) -> None:
    matrix = np.stack([RANDOM.integers(0, 50, ROWS), RANDOM.integers(0, 5, ROWS)], axis=1).astype(dtype)
    target = np.sin(matrix[:, 0] * 5) + matrix[:, 1] % 2
    model = lightgbm.LGBMRegressor(**SMALL | CATEGORIES).fit(matrix, target, categorical_feature=[0, 1])
    bundle = export(model, columns(matrix), tmp_path)
    rows = RANDOM.choice([0, 1, 49, 50, -1, -3, 1e9], (2000, 2)).astype(dtype)
    if dtype is np.float64:
        rows[::2] = RANDOM.uniform(-3, 55, rows[::2].shape)
        rows[::7] = np.nan
    assert np.array_equal(predict(bundle, columns(rows))["prediction"], model.predict(rows))


def test_early_stopping_uses_the_best_iteration(tmp_path: Path) -> None:
    noisy = SCORE + np.random.default_rng(1).normal(size=ROWS) * 3
    train, valid = lightgbm.Dataset(MATRIX[:300], noisy[:300]), lightgbm.Dataset(MATRIX[300:], noisy[300:])
    parameters = {"verbose": -1, "num_threads": 1, "metric": "l2"}
    stop = [lightgbm.early_stopping(5, verbose=False)]
    model = lightgbm.train(parameters, train, 100, valid_sets=[valid], callbacks=stop, keep_training_booster=True)
    assert 0 < model.best_iteration < model.num_trees()
    answers = predict(export(model, columns(), tmp_path), columns())["prediction"]
    assert np.array_equal(answers, model.predict(MATRIX))
    assert not np.array_equal(answers, model.predict(MATRIX, num_iteration=-1))


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    frame = pd.DataFrame(MATRIX, columns=["dep delay", "b", "c", "d"])
    model = lightgbm.LGBMRegressor(**SMALL).fit(frame, SCORE)
    shuffled = frame.assign(other="text")[["d", "other", "b", "dep delay", "c"]]
    bundle = export(model, shuffled, tmp_path)
    assert [column.name for column in bundle.manifest.signature.columns] == ["dep delay", "b", "c", "d"]


def sample_of(*names: str) -> Sample:
    return Sample(dict.fromkeys(names, MATRIX[:, 0]))


@pytest.mark.parametrize(
    ("names", "sample", "error", "says"),
    [
        (["a", "b", "c", "d"], sample_of("a", "b", "c", "e"), MissingColumnsError, "'d'"),
        (None, sample_of("a", "b", "c"), SampleError, "3 columns, and the model takes 4"),
        (["a", "b", "c", "d"], Sample({**sample_of("a", "b", "c").columns, "d": np.array(["x"], object)}),
         SampleError, "'d' of the sample is text"),
    ],
)  # fmt: skip
def test_sample_that_does_not_fit(names: Any, sample: Sample, error: type[Exception], says: str) -> None:
    data = MATRIX if names is None else pd.DataFrame(MATRIX, columns=names)
    model = lightgbm.LGBMRegressor(**SMALL).fit(data, SCORE)
    with pytest.raises(error, match=says):
        exporter.adapt(model, sample)


def test_linear_trees_are_refused(tmp_path: Path) -> None:
    model = lightgbm.LGBMRegressor(**SMALL, linear_tree=True).fit(MATRIX, SCORE)
    with pytest.raises(ConversionError, match="linear trees"):
        mlops_kit.export(model, sample=columns(), out=tmp_path / "bundle")


def test_estimator_without_fit_is_refused() -> None:
    with pytest.raises(SourceError, match="not fitted"):
        exporter.adapt(lightgbm.LGBMRegressor(), None)


def model_file(folder: Path) -> Path:
    path = folder / "model.txt"
    lightgbm.LGBMRegressor(**SMALL).fit(MATRIX, SCORE).booster_.save_model(path)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[: len(text) // 3], "cut off"),
        (lambda text: text[: text.index(b"[num_leaves")], "cut off"),
        (lambda text: text.replace(b"split_feature=", b"split_x="), "size"),
        (lambda text: re.sub(rb"left_child=\d ", rb"left_child=99", text), "too few values"),
        (lambda text: text.replace(b"left_child=1", b"left_child=0", 1), "points at what is not there"),
        (lambda text: text.replace(b"left_child=1", b"left_child=x", 1), "invalid literal"),
        (lambda text: text.replace(b"version=", b"version\xff"), "utf-8"),
    ],
)
def test_damaged_file_is_refused(change: Callable[[bytes], bytes], says: str, tmp_path: Path) -> None:
    path = model_file(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(SourceError, match=says):
        exporter.read(path)


def test_file_that_went_through_windows_is_read(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert exporter.recognises_file(path, path.read_bytes()[:4096])
    assert exporter.read(path).num_trees() == SMALL["n_estimators"]  # type: ignore[attr-defined]


def test_dump_is_refused_with_advice(tmp_path: Path) -> None:
    dump = lightgbm.Booster(model_file=model_file(tmp_path)).dump_model()
    path = tmp_path / "dump.json"
    path.write_text(json.dumps(dump))
    assert exporter.recognises_file(path, path.read_bytes()[:4096])
    with pytest.raises(SourceError, match="save_model"):
        exporter.read(path)


def test_conversion_is_the_same_in_every_process(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    frame = categories_frame(40)[["name", "number", "code"]]
    lightgbm.LGBMRegressor(**SMALL | CATEGORIES).fit(frame, SCORE).booster_.save_model(path)
    assert convert_in_process(path, hash_seed=1) == convert_here(path)


def test_reference_is_the_original_and_can_differ() -> None:
    """The comparison is no tautology: another model's graph fails it."""
    first, second = (lightgbm.LGBMRegressor(**SMALL).fit(MATRIX, target) for target in (SCORE, -SCORE))
    rows: Columns = columns()
    mine, other = (exporter.adapt(model, Sample(rows)).reference(rows) for model in (first, second))
    assert not np.allclose(mine["prediction"], other["prediction"])
    assert np.array_equal(mine["prediction"], first.predict(MATRIX))


def thresholds(model: Any) -> Array:
    lines = re.findall(r"^threshold=(.*)$", model.booster_.model_to_string(), re.MULTILINE)
    return np.unique([float(value) for line in lines for value in line.split()])
