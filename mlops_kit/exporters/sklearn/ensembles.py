"""Voting, stacking, bagging and AdaBoost: every member is written on its own, then combined."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from mlops_kit.exporters.sklearn.blocks import Block, Frame, pick, width_of
from mlops_kit.exporters.sklearn.forests import rounded_matrix, tree_of
from mlops_kit.exporters.sklearn.scores import (
    best_of,
    from_decision,
    from_probability,
    label_array,
    labels_at,
    logistic_pair,
    mean_of,
    softmax,
)
from mlops_kit.exporters.sklearn.translator import Classified, Translator, kind_name
from mlops_kit.exporters.sklearn.trees import sum_by_target, sum_leaves
from mlops_kit.schema import Array

TREES = ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")


def needed(tensor: str | None, model: Any, what: str, t: Translator) -> str:
    """A tensor that an ensemble needs of its member. Raises ConversionError if there is none."""
    if tensor is None:
        raise t.refusal(model, f"its {what} has no ONNX form", "use another estimator in its place")
    return tensor


def vote(model: Any, frame: Frame, t: Translator) -> Classified:
    """VotingClassifier."""
    members = [(t.under(name), m) for name, m in _named_members(model)]
    answers = [(deeper, m, deeper.classify(m, frame)) for deeper, m in members]
    weights = model._weights_not_none
    if model.voting == "soft":
        shares = [needed(answer.probability, m, "probability", deeper) for deeper, m, answer in answers]
        return from_probability(mean_of(shares, weights, t), model.classes_, t)
    ballots = [count_votes(answer.label, len(model.classes_), t) for _, _, answer in answers]
    return Classified(labels_at(best_of(mean_of(ballots, weights, t), t), model.classes_, t))


def count_votes(codes: str, classes: int, t: Translator) -> str:
    """One-hot of class positions, shape (rows, classes)."""
    column = t.graph.add("Reshape", codes, np.array([-1, 1], np.int64))
    return t.graph.cast(t.graph.add("Equal", column, np.arange(classes).reshape(1, -1)))


def average(model: Any, frame: Frame, t: Translator) -> str:
    """VotingRegressor."""
    answers = [t.under(name).predict(m, frame) for name, m in _named_members(model)]
    return mean_of(answers, model._weights_not_none, t)


def _named_members(model: Any) -> list[tuple[str, Any]]:
    names = [name for name, member in model.estimators if not isinstance(member, str)]
    return list(zip(names, model.estimators_, strict=True))


def stacked(model: Any, frame: Frame, t: Translator) -> Frame:
    """What the members of a stack say, as columns for the final estimator."""
    methods = [method for method in model.stack_method_ if method is not None]
    blocks: list[Block] = []
    for (name, member), method in zip(_named_members(model), methods, strict=True):
        deeper = t.under(name)
        tensor, width = _stacked_answer(model, member, method, frame, deeper)
        blocks.append(Block(tensor, width))
    return (*blocks, *(frame if model.passthrough else ()))


def _stacked_answer(model: Any, member: Any, method: str, frame: Frame, t: Translator) -> tuple[str, int]:
    if not hasattr(model, "classes_"):
        return t.predict(member, frame), 1
    answer, classes = t.classify(member, frame), len(model.classes_)
    if method == "decision_function":
        return needed(answer.decision, member, "decision function", t), 1 if classes == 2 else classes
    if method == "predict":
        return t.graph.cast(t.graph.add("Reshape", answer.label, np.array([-1, 1], np.int64))), 1
    tensor = needed(answer.probability, member, "probability", t)
    if classes == 2:
        return t.graph.add("Gather", tensor, np.array([1], np.int64), axis=1), 1
    return tensor, classes


def classify_stacked(model: Any, frame: Frame, t: Translator) -> Classified:
    """StackingClassifier: its final estimator knows the classes by their positions."""
    answer = t.under("final_estimator").classify(model.final_estimator_, stacked(model, frame, t))
    return Classified(labels_at(answer.label, model.classes_, t), answer.probability, answer.decision)


def predict_stacked(model: Any, frame: Frame, t: Translator) -> str:
    """StackingRegressor."""
    return t.under("final_estimator").predict(model.final_estimator_, stacked(model, frame, t))


def _bags(model: Any, frame: Frame, t: Translator) -> list[tuple[Any, Frame]]:
    features = [np.asarray(chosen).tolist() for chosen in model.estimators_features_]
    return [(m, pick(frame, chosen, t.graph)) for m, chosen in zip(model.estimators_, features, strict=True)]


def _are_trees(members: Sequence[Any]) -> bool:
    return all(kind_name(member) in TREES for member in members)


def predict_bagged(model: Any, frame: Frame, t: Translator) -> str:
    """BaggingRegressor."""
    if _are_trees(model.estimators_):
        return _mean_of_bagged(model, [m.tree_.value[:, :, 0] for m in model.estimators_], frame, t)
    return mean_of([t.predict(m, columns) for m, columns in _bags(model, frame, t)], None, t)


def classify_bagged(model: Any, frame: Frame, t: Translator) -> Classified:
    """BaggingClassifier; a member may have seen only some of the classes."""
    if _are_trees(model.estimators_):
        shares = [_spread(m.tree_.value[:, 0, : m.n_classes_], m, model) for m in model.estimators_]
        return from_probability(_mean_of_bagged(model, shares, frame, t), model.classes_, t)
    made = []
    for member, columns in _bags(model, frame, t):
        answer = t.classify(member, columns)
        if not hasattr(member, "predict_proba"):
            made.append(count_votes(answer.label, model.n_classes_, t))
            continue
        share = needed(answer.probability, member, "probability", t)
        seen = np.asarray(member.classes_, int)
        made.append(
            share
            if len(seen) == model.n_classes_
            else t.graph.add("MatMul", share, np.eye(model.n_classes_)[seen])
        )
    return from_probability(mean_of(made, None, t), model.classes_, t)


def _spread(shares: Array, member: Any, model: Any) -> Array:
    everything = np.zeros((len(shares), model.n_classes_))
    everything[:, np.asarray(member.classes_, int)] = shares
    return everything


def _mean_of_bagged(model: Any, values: Sequence[Array], frame: Frame, t: Translator) -> str:
    members = zip(model.estimators_, model.estimators_features_, strict=True)
    total = sum_leaves(
        [tree_of(m, features) for m, features in members], values, rounded_matrix(model, frame, t), t.graph
    )
    return t.graph.add("Div", total, np.array(float(len(values))))


def boost_classes(model: Any, frame: Frame, t: Translator) -> Classified:
    """AdaBoostClassifier: every member puts its weight on the class it chooses."""
    classes = len(model.classes_)
    weights = np.asarray(model.estimator_weights_[: len(model.estimators_)], float)
    shares = np.where(np.eye(classes, dtype=bool), 1.0, -1.0 / (classes - 1))
    decision = _chosen_classes(model, frame, weights / weights.sum(), shares, t)
    if classes == 2:
        score = t.graph.add("MatMul", decision, np.array([[-1.0], [1.0]]))
        return from_decision(score, model.classes_, t, logistic_pair(score, t))
    probability = softmax(t.graph.add("Div", decision, np.array(classes - 1.0)), classes, t)
    return from_decision(decision, model.classes_, t, probability)


def _chosen_classes(model: Any, frame: Frame, weights: Array, shares: Array, t: Translator) -> str:
    """The sum of weighted rows of `shares`, one for each member's choice; shape (rows, classes)."""
    if _are_trees(model.estimators_):
        trees = [tree_of(member) for member in model.estimators_]
        values = [
            shares[_choices(m, model)] * weight for m, weight in zip(model.estimators_, weights, strict=True)
        ]
        return sum_leaves(trees, values, rounded_matrix(model, frame, t), t.graph)
    made = []
    for member, weight in zip(model.estimators_, weights, strict=True):
        label = t.graph.add("Reshape", t.classify(member, frame).label, np.array([-1, 1], np.int64))
        same = t.graph.add("Equal", label, label_array(model.classes_).reshape(1, -1))
        made.append(t.graph.add("MatMul", t.graph.cast(same), shares * weight))
    return t.graph.add("Sum", *made)


def _choices(member: Any, model: Any) -> Array:
    """The position of the class that each node of a tree would choose."""
    own = np.searchsorted(model.classes_, member.classes_)
    return np.asarray(own[member.tree_.value[:, 0, :].argmax(axis=1)])


def boost_numbers(model: Any, frame: Frame, t: Translator) -> str:
    """AdaBoostRegressor: the weighted median of the members' predictions."""
    members = model.estimators_
    weights = np.asarray(model.estimator_weights_[: len(members)], float)
    count = np.array([len(members)], np.int64)
    guesses = _all_predictions(model, frame, t)
    order = t.graph.unique_name("/TopK_indices")
    ascending = t.graph.unique_name("/TopK_values")
    t.graph.add_node(_top_k(guesses, t.graph.constant(count), ascending, order))
    flat = t.graph.add("Gather", weights, order)
    reached = t.graph.add("CumSum", flat, np.array(1, np.int64))
    enough = t.graph.add("GreaterOrEqual", reached, np.array(0.5 * weights.sum()))
    first = t.graph.add("ArgMax", t.graph.cast(enough), axis=1, keepdims=1)
    return t.graph.add("GatherElements", ascending, first, axis=1)


def _all_predictions(model: Any, frame: Frame, t: Translator) -> str:
    """What every member predicts, shape (rows, members)."""
    members = model.estimators_
    if _are_trees(members):
        trees, values = [tree_of(m) for m in members], [m.tree_.value.ravel() for m in members]
        return sum_by_target(trees, values, range(len(trees)), rounded_matrix(model, frame, t), t.graph)
    return t.graph.add("Concat", *(t.predict(m, frame) for m in members), axis=1)


def _top_k(values: str, count: str, ascending: str, order: str) -> onnx.NodeProto:
    return helper.make_node("TopK", [values, count], [ascending, order], name=order, axis=1, largest=0, sorted=1)


def transform_stacked(model: Any, frame: Frame, t: Translator) -> Frame:
    """A stack or a vote as a transformer is rare, and what it gives depends on its members' methods."""
    raise t.refusal(model, f"it is used as a transformer of {width_of(frame)} columns", "use it as the last step")


REGRESSORS: Mapping[str, Callable[[Any, Frame, Translator], str]] = {
    "AdaBoostRegressor": boost_numbers,
    "BaggingRegressor": predict_bagged,
    "StackingRegressor": predict_stacked,
    "VotingRegressor": average,
}

CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], Classified]] = {
    "AdaBoostClassifier": boost_classes,
    "BaggingClassifier": classify_bagged,
    "StackingClassifier": classify_stacked,
    "VotingClassifier": vote,
}

TRANSFORMERS: Mapping[str, Callable[[Any, Frame, Translator], Frame]] = dict.fromkeys(
    (*REGRESSORS, *CLASSIFIERS), transform_stacked
)
