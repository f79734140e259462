"""Many binary models for many classes, many models for many targets, and thresholds other than one half."""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Block, Frame, pick
from mlops_kit.exporters.sklearn.scores import (
    best_of,
    constant_rows,
    decided,
    from_decision,
    labels_at,
    normalized,
    pair,
)
from mlops_kit.exporters.sklearn.translator import Classified, Translator
from mlops_kit.schema import Array


def binary_score(member: Any, frame: Frame, t: Translator) -> tuple[str, float]:
    """The score of a binary member, shape (rows, 1), and the threshold above which it means yes."""
    from sklearn.base import is_regressor

    if is_regressor(member):
        return t.predict(member, frame), 0.5
    answer = t.classify(member, frame)
    if hasattr(member, "decision_function"):
        if answer.decision is None:
            raise t.refusal(member, "its decision function has no ONNX form")
        return answer.decision, 0.0
    return positive_share(member, answer, t), 0.5


def positive_share(member: Any, answer: Classified, t: Translator) -> str:
    """The probability of the second of two classes, shape (rows, 1)."""
    if answer.probability is None:
        raise t.refusal(member, "its probability has no ONNX form")
    return t.graph.add("Gather", answer.probability, np.array([1], np.int64), axis=1)


def one_against_rest(model: Any, frame: Frame, t: Translator) -> Classified:
    """OneVsRestClassifier of one target."""
    scores, thresholds = zip(*(binary_score(m, frame, t) for m in model.estimators_), strict=True)
    joined = t.graph.add("Concat", *scores, axis=1) if len(scores) > 1 else scores[0]
    codes = best_of(joined, t) if len(scores) > 1 else decided(joined, thresholds[0], t)
    probability = None
    if hasattr(model, "predict_proba"):
        shares = [positive_share(m, t.classify(m, frame), t) for m in model.estimators_]
        probability = pair(shares[0], t) if len(shares) == 1 else _shared_out(shares, t)
    return Classified(labels_at(codes, model.classes_, t), probability, joined)


def _shared_out(shares: list[str], t: Translator) -> str:
    return normalized(t.graph.add("Concat", *shares, axis=1), len(shares), t)


def each_against_rest(model: Any, frame: Frame, t: Translator) -> list[Classified]:
    """OneVsRestClassifier of several labels: yes or no for each."""
    made = []
    for member in model.estimators_:
        score, threshold = binary_score(member, frame, t)
        label = labels_at(decided(score, threshold, t), np.array([0, 1]), t)
        share = positive_share(member, t.classify(member, frame), t) if hasattr(member, "predict_proba") else None
        made.append(Classified(label, None if share is None else pair(share, t)))
    return made


def one_against_one(model: Any, frame: Frame, t: Translator) -> Classified:
    """OneVsOneClassifier: votes, and the sum of confidences to break ties."""
    columns = model.pairwise_indices_ or [None] * len(model.estimators_)
    yes, scores, threshold = [], [], 0.0
    for member, indices in zip(model.estimators_, columns, strict=True):
        seen = frame if indices is None else pick(frame, np.asarray(indices).tolist(), t.graph)
        score, threshold = binary_score(member, seen, t)
        scores.append(score)
        yes.append(t.graph.add("Reshape", t.classify(member, seen).label, np.array([-1, 1], np.int64)))
    votes = t.graph.cast(t.graph.add("Concat", *yes, axis=1) if len(yes) > 1 else yes[0])
    confidences = t.graph.add("Concat", *scores, axis=1) if len(scores) > 1 else scores[0]
    decision = pairwise_decision(votes, confidences, len(model.classes_), t)
    if len(model.classes_) == 2:
        decision = t.graph.add("Gather", decision, np.array([1], np.int64), axis=1)
        return Classified(labels_at(decided(decision, threshold, t), model.classes_, t), None, decision)
    return from_decision(decision, model.classes_, t)


def _duel_winners(classes: int) -> tuple[Array, Array]:
    """For every pair of classes, the first one and the second one, one-hot."""
    pairs = np.array(list(combinations(range(classes), 2)))
    return np.eye(classes)[pairs[:, 0]], np.eye(classes)[pairs[:, 1]]


def count_duels(votes: str, classes: int, t: Translator) -> str:
    """How many duels each class has won: 1 in `votes` means that the second of a pair has."""
    first, second = _duel_winners(classes)
    kept = t.graph.add("MatMul", t.graph.add("Sub", np.array(1.0), votes), first)
    return t.graph.add("Add", t.graph.add("MatMul", votes, second), kept)


def pairwise_decision(votes: str, confidences: str, classes: int, t: Translator) -> str:
    """One score per class: the duels that it has won, and a fraction for how clearly."""
    first, second = _duel_winners(classes)
    total = t.graph.add("MatMul", confidences, second - first)
    scale = t.graph.add("Mul", t.graph.add("Add", t.graph.add("Abs", total), np.array(1.0)), np.array(3.0))
    return t.graph.add("Add", count_duels(votes, classes, t), t.graph.add("Div", total, scale))


def correct_by_code(model: Any, frame: Frame, t: Translator) -> Classified:
    """OutputCodeClassifier: the class whose code word is nearest to the members' scores."""
    scores = [binary_score(m, frame, t)[0] for m in model.estimators_]
    joined = t.graph.add("Concat", *scores, axis=1) if len(scores) > 1 else scores[0]
    words = np.asarray(model.code_book_, float)
    product = t.graph.add("MatMul", joined, 2.0 * words.T)
    nearness = t.graph.add("Sub", product, (words**2).sum(axis=1).reshape(1, -1))
    return Classified(labels_at(best_of(nearness, t), model.classes_, t))


def decide_by_threshold(model: Any, frame: Frame, t: Translator) -> Classified:
    """TunedThresholdClassifierCV and FixedThresholdClassifier."""
    member = getattr(model, "estimator_", model.estimator)
    answer = t.classify(member, frame)
    methods = (
        ("predict_proba", "decision_function") if model.response_method == "auto" else (model.response_method,)
    )
    by_share = next(method for method in methods if hasattr(member, method)) == "predict_proba"
    threshold: Any = getattr(model, "best_threshold_", getattr(model, "threshold", "auto"))
    if isinstance(threshold, str):
        threshold = 0.5 if by_share else 0.0
    score = positive_share(member, answer, t) if by_share else answer.decision
    if score is None:
        raise t.refusal(member, "its decision function has no ONNX form")
    if _first_is_positive(model):
        raise t.refusal(model, "its positive label is the first class", "name the second class as pos_label")
    codes = t.graph.cast(t.graph.add("GreaterOrEqual", score, np.array([float(threshold)])), "int64")
    return Classified(labels_at(codes, model.classes_, t), answer.probability, answer.decision)


def _first_is_positive(model: Any) -> bool:
    label = getattr(model, "pos_label", None)
    if label is None:
        label = getattr(getattr(model, "_curve_scorer", None), "_kwargs", {}).get("pos_label")
    return label is not None and bool(label == model.classes_[0])


def classify_targets(model: Any, frame: Frame, t: Translator) -> list[Classified]:
    """MultiOutputClassifier."""
    return [t.under(str(i)).classify(m, frame) for i, m in enumerate(model.estimators_)]


def predict_targets(model: Any, frame: Frame, t: Translator) -> str:
    """MultiOutputRegressor."""
    made = [t.under(str(i)).predict(m, frame) for i, m in enumerate(model.estimators_)]
    return t.graph.add("Concat", *made, axis=1) if len(made) > 1 else made[0]


def predict_chain(model: Any, frame: Frame, t: Translator) -> str:
    """RegressorChain: every member sees what those before it have predicted."""
    made: dict[int, str] = {}
    for target, member in zip(model.order_, model.estimators_, strict=True):
        made[int(target)] = t.predict(member, frame)
        frame = (*frame, Block(made[int(target)], 1))
    return t.graph.add("Concat", *(made[i] for i in range(len(made))), axis=1) if len(made) > 1 else made[0]


def classify_chain(model: Any, frame: Frame, t: Translator) -> list[Classified]:
    """ClassifierChain: every member sees what those before it have said."""
    made: dict[int, Classified] = {}
    method = getattr(model, "chain_method_", "predict")
    for target, member in zip(model.order_, model.estimators_, strict=True):
        answer = made[int(target)] = t.classify(member, frame)
        if method == "predict":
            said = t.graph.cast(t.graph.add("Reshape", answer.label, np.array([-1, 1], np.int64)))
        elif method == "predict_proba":
            said = positive_share(member, answer, t)
        else:
            said = binary_score(member, frame, t)[0]
        frame = (*frame, Block(said, 1))
    return [made[i] for i in range(len(made))]


def say_the_same(model: Any, frame: Frame, t: Translator) -> Classified:
    """The stand-in for a class that every row has, or none, in one-against-rest."""
    yes = float(np.ravel(model.y_)[0])
    score = constant_rows(np.array([yes]), t.matrix(model, frame), t)
    return from_decision(score, [0, 1], t, pair(score, t))


CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], Classified]] = {
    "FixedThresholdClassifier": decide_by_threshold,
    "OneVsOneClassifier": one_against_one,
    "OneVsRestClassifier": one_against_rest,
    "OutputCodeClassifier": correct_by_code,
    "TunedThresholdClassifierCV": decide_by_threshold,
    "_ConstantPredictor": say_the_same,
}

MULTI_CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], list[Classified]]] = {
    "ClassifierChain": classify_chain,
    "MultiOutputClassifier": classify_targets,
    "OneVsRestClassifier": each_against_rest,
}

REGRESSORS: Mapping[str, Callable[[Any, Frame, Translator], str]] = {
    "MultiOutputRegressor": predict_targets,
    "RegressorChain": predict_chain,
}
