"""Dummy estimators: the same answer for every row."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Frame
from mlops_kit.exporters.sklearn.scores import constant_rows, from_probability
from mlops_kit.exporters.sklearn.translator import Classified, Translator


def predict_constant(model: Any, frame: Frame, t: Translator) -> str:
    """DummyRegressor."""
    return constant_rows(np.ravel(model.constant_), t.matrix(model, frame), t)


def classify_constant(model: Any, frame: Frame, t: Translator) -> Classified:
    """DummyClassifier, unless it throws dice."""
    if model.strategy in ("stratified", "uniform") or isinstance(model.classes_, list):
        raise t.refusal(model, f"its strategy {model.strategy!r} is random, or it has several targets")
    row = np.zeros((1, model.n_features_in_))
    return from_probability(
        constant_rows(model.predict_proba(row)[0], t.matrix(model, frame), t), model.classes_, t
    )


REGRESSORS: Mapping[str, Callable[[Any, Frame, Translator], str]] = {"DummyRegressor": predict_constant}
CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], Classified]] = {"DummyClassifier": classify_constant}
