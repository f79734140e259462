"""CatBoost models of numbers answer as the original, to the last digits of float64."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlops_kit
from mlops_kit.errors import ConversionError, MissingColumnsError, SourceError
from mlops_kit.exporters.catboost import exporter
from mlops_kit.exporters.interface import Sample
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

catboost = pytest.importorskip("catboost", reason="CatBoost is not installed (extra catboost)")
pd = pytest.importorskip("pandas")

SMALL: dict[str, Any] = {
    "iterations": 12, "depth": 4, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 0,
}  # fmt: skip

REGRESSIONS: dict[str, tuple[dict[str, Any], Array]] = {
    "squares": ({}, SCORE),
    "missing is high": ({"nan_mode": "Max"}, SCORE),
    "absolute": ({"loss_function": "MAE"}, SCORE),
    "poisson": ({"loss_function": "Poisson"}, np.abs(SCORE)),
    "tweedie": ({"loss_function": "Tweedie:variance_power=1.5"}, np.abs(SCORE)),
    "leaf by leaf": ({"grow_policy": "Lossguide", "max_leaves": 10}, SCORE),
    "level by level": ({"grow_policy": "Depthwise"}, SCORE),
    "one split": ({"depth": 1}, SCORE),
    "two targets": ({"loss_function": "MultiRMSE"}, np.stack([SCORE, -SCORE], axis=1)),
}

CLASSIFICATIONS: dict[str, tuple[dict[str, Any], Array]] = {
    "text": ({}, np.where(SCORE > 0.5, "yes", "no")),
    "integers": ({}, (SCORE > 0.5) * 2 + 3),
    "a rare class": ({"iterations": 60}, (np.arange(ROWS) % 150 == 0).astype(int)),
    "cross entropy": ({"loss_function": "CrossEntropy"}, (SCORE > 0.5).astype(float)),
    "three classes": ({}, LEVEL),
    "three names": ({"grow_policy": "Depthwise"}, np.array(["low", "mid", "high"])[LEVEL]),
    "one against all": ({"loss_function": "MultiClassOneVsAll"}, LEVEL),
}


@pytest.mark.parametrize("case", REGRESSIONS)
def test_regressor_answers_as_the_original(case: str, tmp_path: Path) -> None:
    parameters, target = REGRESSIONS[case]
    model = catboost.CatBoostRegressor(**SMALL | parameters).fit(MATRIX, target)
    bundle = export(model, columns(), tmp_path)
    assert bundle.manifest.row_block == 1
    rows = np.where(RANDOM.random(MATRIX.shape) < 0.3, np.nan, MATRIX)
    answers = np.stack(list(predict(bundle, columns(rows)).values()), axis=1)
    np.testing.assert_allclose(answers, model.predict(rows).reshape(answers.shape), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", CLASSIFICATIONS)
def test_classifier_gives_labels_and_probabilities(case: str, tmp_path: Path) -> None:
    parameters, target = CLASSIFICATIONS[case]
    model = catboost.CatBoostClassifier(**SMALL | parameters).fit(MATRIX, target)
    bundle = export(model, columns(), tmp_path)
    assert bundle.manifest.row_block == 1
    answers = predict(bundle, columns())
    assert answers["prediction"].tolist() == model.predict(MATRIX).ravel().tolist()
    got = probabilities(answers, model.classes_)
    np.testing.assert_allclose(got, model.predict_proba(MATRIX), rtol=1e-9, atol=1e-15)


def test_probability_threshold_of_the_model_decides_the_label(tmp_path: Path) -> None:
    model = catboost.CatBoostClassifier(**SMALL).fit(MATRIX, LEVEL > 0)
    model.set_probability_threshold(0.8)
    model.save_model(str(tmp_path / "model.cbm"))
    for name, source in {"model": model, "file": tmp_path / "model.cbm"}.items():
        answers = predict(export(source, columns(), tmp_path / name), columns())
        assert np.array_equal(answers["prediction"], answers["probability_True"] > 0.8)
        assert not np.array_equal(answers["prediction"], answers["probability_True"] > 0.5)


def test_ranker_gives_scores(tmp_path: Path) -> None:
    model = catboost.CatBoostRanker(**SMALL).fit(MATRIX, LEVEL, group_id=np.repeat(np.arange(ROWS // 20), 20))
    answers = predict(export(model, columns(), tmp_path), columns())
    np.testing.assert_allclose(answers["prediction"], model.predict(MATRIX), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("suffix", ["cbm", "json"])
@pytest.mark.parametrize("kind", ["CatBoostRegressor", "CatBoostClassifier"])
def test_file_answers_as_the_estimator(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    model = getattr(catboost, kind)(**SMALL).fit(MATRIX, SCORE if kind == "CatBoostRegressor" else LEVEL)
    model.save_model(str(path), format=suffix)
    answers = predict(export(path, columns(), tmp_path), columns())
    want = model.predict(MATRIX).ravel()
    np.testing.assert_allclose(answers["prediction"], want, rtol=1e-12, atol=1e-14)


def test_borders_and_large_integers_never_change_sides(tmp_path: Path) -> None:
    model = catboost.CatBoostRegressor(**SMALL).fit(MATRIX, SCORE)
    bundle = export(model, columns(), tmp_path)
    borders = np.concatenate(list(model.get_borders().values()))
    at = RANDOM.choice(borders, (3000, 4)).astype(np.float32)
    near = np.choose(RANDOM.integers(0, 3, at.shape), [at, np.nextafter(at, 9e9), np.nextafter(at, -9e9)])
    near = near.astype(np.float64)
    near[::2] = np.floor(near[::2]) + RANDOM.uniform(0, 1, near[::2].shape)
    answers = predict(bundle, columns(near))["prediction"]
    np.testing.assert_allclose(answers, model.predict(near), rtol=1e-12, atol=1e-14)


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    frame = pd.DataFrame(MATRIX, columns=["dep delay", "b", "c", "d"])
    model = catboost.CatBoostRegressor(**SMALL).fit(frame, SCORE)
    bundle = export(model, frame[["d", "b", "dep delay", "c"]], tmp_path)
    assert [column.name for column in bundle.manifest.signature.columns] == list(frame.columns)
    with pytest.raises(MissingColumnsError, match="did you mean 'dep_delai'"):
        exporter.adapt(model, Sample(dict.fromkeys(["dep_delai", "b", "c", "d"], MATRIX[:, 0])))


@pytest.mark.parametrize("loss", ["MultiLogloss", "RMSEWithUncertainty"])
def test_several_answers_to_a_row_are_refused(loss: str) -> None:
    kind = catboost.CatBoostClassifier if loss == "MultiLogloss" else catboost.CatBoostRegressor
    target = np.stack([LEVEL > 0, LEVEL > 1], axis=1).astype(int) if loss == "MultiLogloss" else SCORE
    model = kind(**SMALL, loss_function=loss).fit(MATRIX, target)
    with pytest.raises(ConversionError, match=loss):
        exporter.adapt(model, None)


@pytest.mark.parametrize(("kind", "says"), [("cat_features", "categories"), ("text_features", "text")])
def test_categories_and_text_are_refused_with_advice(kind: str, says: str, tmp_path: Path) -> None:
    words = RANDOM.choice(["red sky", "green sea", "blue sky"], ROWS)
    frame = pd.DataFrame({"word": words, "x": MATRIX[:, 0]})
    model = catboost.CatBoostRegressor(**SMALL).fit(frame, SCORE, **{kind: ["word"]})
    with pytest.raises(ConversionError, match=f"takes {says} in 1 of its columns.*before training"):
        mlops_kit.export(model, sample=frame, out=tmp_path / "bundle")


def test_estimator_without_fit_is_refused() -> None:
    with pytest.raises(SourceError, match="not fitted"):
        exporter.adapt(catboost.CatBoostRegressor(), None)


@pytest.mark.parametrize("suffix", ["cbm", "json"])
def test_cut_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{suffix}"
    catboost.CatBoostRegressor(**SMALL).fit(MATRIX, SCORE).save_model(str(path), format=suffix)
    path.write_bytes(path.read_bytes()[:3000])
    assert exporter.recognises_file(path, path.read_bytes())
    with pytest.raises(SourceError, match="cannot read"):
        exporter.read(path)


def test_json_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"features_info": {}, "oblivious_trees": []}))
    with pytest.raises(SourceError, match="cannot read"):
        exporter.read(path)


def test_conversion_is_the_same_in_every_process(tmp_path: Path) -> None:
    path = tmp_path / "model.cbm"
    catboost.CatBoostClassifier(**SMALL).fit(MATRIX, LEVEL).save_model(str(path))
    assert convert_in_process(path, hash_seed=1) == convert_here(path)


def test_training_again_gives_the_same_graph(tmp_path: Path) -> None:
    """CatBoost's own export would write down the time."""
    paths = [tmp_path / "first.cbm", tmp_path / "second.cbm"]
    for path in paths:
        catboost.CatBoostRegressor(**SMALL).fit(MATRIX, SCORE).save_model(str(path))
    assert paths[0].read_bytes() != paths[1].read_bytes()
    assert convert_here(paths[0]) == convert_here(paths[1])
