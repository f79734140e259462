"""Support vector machines and kernel ridge: a kernel with the stored rows, and a weighted sum, in float64.

ONNX's own SVM operators compute in float32, which large coefficients (a large C) magnify.
"""

from collections.abc import Callable, Mapping
from copy import copy
from itertools import combinations
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Frame
from mlops_kit.exporters.sklearn.graph import row_sum
from mlops_kit.exporters.sklearn.multiclass import count_duels, pairwise_decision
from mlops_kit.exporters.sklearn.scores import best_of, exponential, labels_at
from mlops_kit.exporters.sklearn.translator import Classified, Translator
from mlops_kit.schema import Array


def kernel(model: Any, gamma: float, stored: Array, frame: Frame, t: Translator) -> str:
    """The kernel of every row with every stored one; shape (rows, stored rows)."""
    x, add = t.matrix(model, frame), t.graph.add
    if model.kernel == "linear":
        return add("MatMul", x, stored.T)
    if model.kernel == "rbf":
        squares = row_sum(add("Mul", x, x), stored.shape[1], t.graph)
        crossed = add("Add", squares, add("MatMul", x, -2.0 * stored.T))
        distance = add("Add", crossed, (stored**2).sum(axis=1))
        return exponential(add("Mul", distance, np.array(-gamma)), t)
    shifted = add("Add", add("MatMul", x, gamma * stored.T), np.array(float(model.coef0)))
    if model.kernel in ("poly", "polynomial"):
        return add("Pow", shifted, np.array(float(model.degree)))
    if model.kernel == "sigmoid":
        return add("Tanh", shifted)
    raise t.refusal(model, f"its kernel is {model.kernel!r}", "use linear, rbf, poly or sigmoid")


def support_kernel(model: Any, frame: Frame, t: Translator) -> str:
    """The kernel with the support vectors."""
    return kernel(model, float(model._gamma), dense(model.support_vectors_), frame, t)


def dense(values: Any) -> Array:
    """What a model fitted on a sparse matrix keeps sparse."""
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def dense_twin(model: Any) -> Any:
    """The same model, as if it had been fitted on a dense matrix."""
    twin = copy(model)
    twin._sparse = False
    for name in ("support_vectors_", "dual_coef_", "_dual_coef_"):
        setattr(twin, name, dense(getattr(model, name)))
    return twin


def predict_by_support(model: Any, frame: Frame, t: Translator) -> str:
    """SVR and NuSVR, and the score of OneClassSVM."""
    product = t.graph.add("MatMul", support_kernel(model, frame, t), dense(model.dual_coef_).T)
    return t.graph.add("Add", product, np.asarray(model.intercept_, float).reshape(1, -1))


def detect_by_support(model: Any, frame: Frame, t: Translator) -> Classified:
    """OneClassSVM: -1 for outliers."""
    score = predict_by_support(model, frame, t)
    codes = t.graph.cast(t.graph.add("Greater", score, np.array([0.0])), "int64")
    return Classified(labels_at(codes, np.array([-1, 1]), t), None, score)


def classify_by_support(model: Any, frame: Frame, t: Translator) -> Classified:
    """SVC and NuSVC."""
    model = dense_twin(model)
    # libsvm stops short of the exact probabilities; ONNX Runtime's operator has the same loop.
    has_probability = hasattr(model, "predict_proba")
    probability = t.tables.classify_rest(model, frame, t).probability if has_probability else None
    classes = len(model.classes_)
    if classes == 2:
        decision = predict_by_support(model, frame, t)
        codes = t.graph.cast(t.graph.add("GreaterOrEqual", decision, np.array([0.0])), "int64")
        return Classified(labels_at(codes, model.classes_, t), probability, decision)
    duels = t.graph.add("MatMul", support_kernel(model, frame, t), _pair_weights(model).T)
    duels = t.graph.add("Add", duels, np.asarray(model.intercept_, float).reshape(1, -1))
    votes = t.graph.cast(t.graph.add("LessOrEqual", duels, np.array([0.0])))
    decision = pairwise_decision(votes, t.graph.add("Neg", duels), classes, t)
    codes = best_of(decision if model.break_ties else count_duels(votes, classes, t), t)
    has_scores = model.decision_function_shape == "ovr"
    return Classified(labels_at(codes, model.classes_, t), probability, decision if has_scores else None)


def _pair_weights(model: Any) -> Array:
    """The weight of every support vector in the duel of every pair of classes."""
    bounds = np.cumsum([0, *model.n_support_])
    pairs = list(combinations(range(len(model.classes_)), 2))
    weights = np.zeros((len(pairs), len(model.support_vectors_)))
    for k, (i, j) in enumerate(pairs):
        of_i, of_j = slice(bounds[i], bounds[i + 1]), slice(bounds[j], bounds[j + 1])
        weights[k, of_i] = model.dual_coef_[j - 1, of_i]
        weights[k, of_j] = model.dual_coef_[i, of_j]
    return weights


def predict_by_ridge(model: Any, frame: Frame, t: Translator) -> str:
    """KernelRidge."""
    if not isinstance(model.kernel, str) or model.kernel_params:
        raise t.refusal(model, "its kernel is a Python function")
    gamma = 1.0 / model.n_features_in_ if model.gamma is None else float(model.gamma)
    weights = np.asarray(model.dual_coef_, float).reshape(len(model.X_fit_), -1)
    return t.graph.add("MatMul", kernel(model, gamma, np.asarray(model.X_fit_, float), frame, t), weights)


REGRESSORS: Mapping[str, Callable[[Any, Frame, Translator], str]] = {
    "KernelRidge": predict_by_ridge,
    "NuSVR": predict_by_support,
    "SVR": predict_by_support,
}

CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], Classified]] = {
    "NuSVC": classify_by_support,
    "OneClassSVM": detect_by_support,
    "SVC": classify_by_support,
}
