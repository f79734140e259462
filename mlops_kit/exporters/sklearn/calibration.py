"""Calibrated classifiers and isotonic regression."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Frame
from mlops_kit.exporters.sklearn.graph import row_sum
from mlops_kit.exporters.sklearn.multiclass import positive_share
from mlops_kit.exporters.sklearn.scores import (
    constant_rows,
    from_probability,
    mean_of,
    normalized,
    pair,
    sigmoid,
    softmax,
)
from mlops_kit.exporters.sklearn.translator import Classified, Translator
from mlops_kit.schema import Array


def calibrate(model: Any, frame: Frame, t: Translator) -> Classified:
    """CalibratedClassifierCV: the mean over its folds."""
    made = [_calibrated(member, len(model.classes_), frame, t) for member in model.calibrated_classifiers_]
    return from_probability(mean_of(made, None, t), model.classes_, t)


def _calibrated(member: Any, classes: int, frame: Frame, t: Translator) -> str:
    answer = t.classify(member.estimator, frame)
    has_decision = hasattr(member.estimator, "decision_function")
    scores = answer.decision if has_decision else answer.probability
    if scores is None:
        raise t.refusal(
            member.estimator, "its decision function has no ONNX form", "use another estimator in its place"
        )
    if member.method == "temperature":
        return _cooled(member.calibrators[0], scores, classes, has_decision, t)
    if classes == 2:
        score = scores if has_decision else positive_share(member.estimator, answer, t)
        return pair(_mapped(member.calibrators[0], score, t), t)
    seen = np.searchsorted(member.classes, member.estimator.classes_)
    made = {}
    for column, (place, calibrator) in enumerate(zip(seen, member.calibrators, strict=True)):
        score = t.graph.add("Gather", scores, np.array([column], np.int64), axis=1)
        made[int(place)] = _mapped(calibrator, score, t)
    zero = constant_rows(np.zeros(1), scores, t)
    joined = t.graph.add("Concat", *(made.get(place, zero) for place in range(classes)), axis=1)
    return normalized(joined, classes, t)


def _mapped(calibrator: Any, score: str, t: Translator) -> str:
    if type(calibrator).__name__ == "IsotonicRegression":
        return interpolate(score, calibrator.X_thresholds_, calibrator.y_thresholds_, t)
    return sigmoid(
        t.graph.add(
            "Neg",
            t.graph.add("Add", t.graph.add("Mul", score, np.array(calibrator.a_)), np.array(calibrator.b_)),
        ),
        t,
    )


def _cooled(calibrator: Any, scores: str, classes: int, is_decision: bool, t: Translator) -> str:
    """Temperature scaling: a softmax of logits, multiplied by the inverse temperature."""
    if not is_decision:
        logits = t.graph.add("Log", t.graph.add("Add", scores, np.array(1e-12)))
    elif classes == 2:
        logits = t.graph.add("Mul", scores, np.array([[-1.0, 1.0]]))
    else:
        logits = scores
    return softmax(t.graph.add("Mul", logits, np.array(float(calibrator.beta_))), classes, t)


def interpolate(x: str, knots: Array, values: Array, t: Translator) -> str:
    """Linear between the knots, constant beyond them; `x` has shape (rows, 1)."""
    knots, values = np.asarray(knots, float), np.asarray(values, float)
    if len(knots) == 1:
        return constant_rows(values, x, t)
    inside = t.graph.add("Clip", x, np.array(knots[0]), np.array(knots[-1]))
    passed = t.graph.cast(t.graph.add("Greater", inside, knots[1:-1].reshape(1, -1)))
    segment = t.graph.cast(row_sum(passed, len(knots) - 2, t.graph), "int64")
    slopes = np.diff(values) / np.diff(knots)
    distance = t.graph.add("Sub", inside, t.graph.add("Gather", knots[:-1], segment))
    risen = t.graph.add("Mul", distance, t.graph.add("Gather", slopes, segment))
    return t.graph.add("Add", risen, t.graph.add("Gather", values[:-1], segment))


def predict_isotonic(model: Any, frame: Frame, t: Translator) -> str:
    """IsotonicRegression."""
    x = t.matrix(model, frame)
    made = interpolate(x, model.X_thresholds_, model.y_thresholds_, t)
    if model.out_of_bounds == "clip":
        return made
    if model.out_of_bounds == "raise":
        raise t.refusal(
            model, "it refuses values beyond those it was fitted on", "fit it with out_of_bounds='clip'"
        )
    low, high = np.array(float(model.X_min_)), np.array(float(model.X_max_))
    beyond = t.graph.add("Or", t.graph.add("Less", x, low), t.graph.add("Greater", x, high))
    return t.graph.add("Where", beyond, np.array([np.nan]), made)


CLASSIFIERS: Mapping[str, Callable[[Any, Frame, Translator], Classified]] = {"CalibratedClassifierCV": calibrate}
REGRESSORS: Mapping[str, Callable[[Any, Frame, Translator], str]] = {"IsotonicRegression": predict_isotonic}
