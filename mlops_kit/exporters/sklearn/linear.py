"""Linear models: a product with the coefficients, and what each makes of it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Frame
from mlops_kit.exporters.sklearn.scores import (
    exponential,
    from_decision,
    labels_at,
    logistic_pair,
    normalized,
    pair,
    sigmoid,
    softmax,
)
from mlops_kit.exporters.sklearn.translator import Classified, Translator


def linear_scores(model: Any, frame: Frame, t: Translator) -> str:
    """`X @ coef + intercept`, shape (rows, targets)."""
    coefficients = np.atleast_2d(model.coef_)
    intercept = np.broadcast_to(np.asarray(model.intercept_, float).reshape(-1), len(coefficients))
    product = t.graph.add("MatMul", t.matrix(model, frame), coefficients.T)
    return t.graph.add("Add", product, intercept.reshape(1, -1))


def predict_exponential(model: Any, frame: Frame, t: Translator) -> str:
    """Generalized linear models: the inverse of their link, which is the logarithm or nothing."""
    link = model._base_loss.link
    scores = linear_scores(model, frame, t)
    name = type(link).__name__
    if name not in ("LogLink", "IdentityLink"):
        raise t.refusal(model, f"its link {name} is unknown")
    return exponential(scores, t) if name == "LogLink" else scores


def classify_linearly(model: Any, frame: Frame, t: Translator) -> Classified:
    """The sign of the score, or the class with the highest."""
    _refuse_several_targets(model, t)
    return from_decision(linear_scores(model, frame, t), model.classes_, t)


def classify_by_softmax(model: Any, frame: Frame, t: Translator) -> Classified:
    """Logistic regression and linear discriminant analysis."""
    scores = linear_scores(model, frame, t)
    is_binary = len(model.classes_) == 2
    probability = logistic_pair(scores, t) if is_binary else softmax(scores, len(model.classes_), t)
    return from_decision(scores, model.classes_, t, probability)


def classify_by_gradient_descent(model: Any, frame: Frame, t: Translator) -> Classified:
    """SGDClassifier; only two of its losses have probabilities."""
    scores = linear_scores(model, frame, t)
    if model.loss == "log_loss":
        likely = sigmoid(scores, t)
    elif model.loss == "modified_huber":
        clipped = t.graph.add("Clip", scores, np.array(-1.0), np.array(1.0))
        likely = t.graph.add("Div", t.graph.add("Add", clipped, np.array(1.0)), np.array(2.0))
    else:
        return from_decision(scores, model.classes_, t)
    classes = len(model.classes_)
    return from_decision(
        scores, model.classes_, t, pair(likely, t) if classes == 2 else normalized(likely, classes, t)
    )


def detect_linearly(model: Any, frame: Frame, t: Translator) -> Classified:
    """SGDOneClassSVM: -1 for outliers."""
    product = t.graph.add("MatMul", t.matrix(model, frame), np.asarray(model.coef_).reshape(-1, 1))
    score = t.graph.add("Sub", product, np.asarray(model.offset_, float).reshape(1, 1))
    codes = t.graph.cast(t.graph.add("GreaterOrEqual", score, np.array([0.0])), "int64")
    return Classified(labels_at(codes, np.array([-1, 1]), t), None, score)


def _refuse_several_targets(model: Any, t: Translator) -> None:
    if np.ndim(model.classes_) != 1 or isinstance(model.classes_, list):
        raise t.refusal(model, "it predicts several labels at once", "wrap it in a MultiOutputClassifier")


REGRESSORS: Mapping[str, Callable[[Any, Frame, Translator], str]] = {
    **dict.fromkeys(
        (
            "ARDRegression",
            "BayesianRidge",
            "ElasticNet",
            "ElasticNetCV",
            "HuberRegressor",
            "Lars",
            "LarsCV",
            "Lasso",
            "LassoCV",
            "LassoLars",
            "LassoLarsCV",
            "LassoLarsIC",
            "LinearRegression",
            "LinearSVR",
            "MultiTaskElasticNet",
            "MultiTaskElasticNetCV",
            "MultiTaskLasso",
            "MultiTaskLassoCV",
            "OrthogonalMatchingPursuit",
            "OrthogonalMatchingPursuitCV",
            "PassiveAggressiveRegressor",
            "QuantileRegressor",
            "Ridge",
            "RidgeCV",
            "SGDRegressor",
            "TheilSenRegressor",
        ),
        linear_scores,
    ),
    **dict.fromkeys(("GammaRegressor", "PoissonRegressor", "TweedieRegressor"), predict_exponential),
}

CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], Classified]] = {
    **dict.fromkeys(
        ("LinearSVC", "PassiveAggressiveClassifier", "Perceptron", "RidgeClassifier", "RidgeClassifierCV"),
        classify_linearly,
    ),
    **dict.fromkeys(
        ("LinearDiscriminantAnalysis", "LogisticRegression", "LogisticRegressionCV"),
        classify_by_softmax,
    ),
    "SGDClassifier": classify_by_gradient_descent,
    "SGDOneClassSVM": detect_linearly,
}
