"""Pipelines, column transformers and the estimators that only wrap another one."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.blocks import Frame, merge, pick, width_of
from mlops_kit.exporters.sklearn.functions import apply_function, inverse_transform
from mlops_kit.exporters.sklearn.translator import Translator, numbers


def is_identity(step: Any) -> bool:
    """Whether a step hands its columns on as they are."""
    return step is None or (isinstance(step, str) and step == "passthrough")


def last_step(model: Any, frame: Frame, t: Translator) -> tuple[Any, Frame, Translator]:
    """A pipeline: the columns that reach its last step."""
    steps = [(name, step) for name, step in model.steps if not is_identity(step)]
    for name, step in steps[:-1]:
        frame = t.under(name).transform(step, frame)
    if not steps:
        raise t.refusal(model, "none of its steps does anything", "export the model that follows it")
    name, last = steps[-1]
    return last, frame, t.under(name)


def best_estimator(model: Any, frame: Frame, t: Translator) -> tuple[Any, Frame, Translator]:
    """A parameter search: the winner."""
    return model.best_estimator_, frame, t


def fitted_estimator(model: Any, frame: Frame, t: Translator) -> tuple[Any, Frame, Translator]:
    """A wrapper that predicts with its `estimator_`."""
    return model.estimator_, frame, t


def frozen_estimator(model: Any, frame: Frame, t: Translator) -> tuple[Any, Frame, Translator]:
    """An estimator that was protected from being fitted again."""
    return model.estimator, frame, t


def selected_columns(model: Any, frame: Frame, t: Translator) -> tuple[Any, Frame, Translator]:
    """Recursive feature elimination as a predictor: its estimator over the columns that it kept."""
    return model.estimator_, select_columns(model, frame, t), t


def select_columns(model: Any, frame: Frame, t: Translator) -> Frame:
    """Any feature selector: the columns that it keeps."""
    return pick(frame, np.flatnonzero(model.get_support()).tolist(), t.graph)


def transform_columns(model: Any, frame: Frame, t: Translator) -> Frame:
    """ColumnTransformer: each transformer on its own columns, the results side by side."""
    weights = model.transformer_weights or {}
    results: list[Frame] = []
    for name, step, selected in model.transformers_:
        indices = column_indices(selected, model)
        if (isinstance(step, str) and step == "drop") or not indices:
            continue
        columns = pick(frame, indices, t.graph)
        made = columns if is_identity(step) else t.under(name).transform(step, columns)
        results.append(_weighted(made, weights.get(name), t))
    return merge(tuple(block for made in results for block in made), t.graph)


def column_indices(selected: Any, model: Any) -> list[int]:
    """Positions of the selected columns, given as names, positions, slices or a mask."""
    names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    if isinstance(selected, (str, int, np.integer)):
        selected = [selected]
    if isinstance(selected, slice):
        bounds = [names.index(b) if isinstance(b, str) else b for b in (selected.start, selected.stop)]
        # A slice of names includes its end, as in pandas.
        stop = bounds[1] + 1 if isinstance(selected.stop, str) else bounds[1]
        return list(range(*slice(bounds[0], stop, selected.step).indices(model.n_features_in_)))
    chosen = list(selected)
    if chosen and all(isinstance(value, (bool, np.bool_)) for value in chosen):
        return np.flatnonzero(chosen).tolist()
    return [names.index(str(v)) if isinstance(v, str) else int(v) % model.n_features_in_ for v in chosen]


def unite_features(model: Any, frame: Frame, t: Translator) -> Frame:
    """FeatureUnion: every transformer on all columns, the results side by side."""
    weights = model.transformer_weights or {}
    results: list[Frame] = []
    for name, step in model.transformer_list:
        if isinstance(step, str) and step == "drop":
            continue
        made = frame if is_identity(step) else t.under(name).transform(step, frame)
        results.append(_weighted(made, weights.get(name), t))
    return merge(tuple(block for made in results for block in made), t.graph)


def _weighted(frame: Frame, weight: float | None, t: Translator) -> Frame:
    if weight is None or not frame:
        return frame
    return numbers(t.graph.add("Mul", t.matrix(None, frame), np.array(float(weight))), width_of(frame))


def transform_by_function(model: Any, frame: Frame, t: Translator) -> Frame:
    """FunctionTransformer: nothing, or a NumPy function that ONNX has too."""
    if model.func is None:
        return frame
    arguments = model.kw_args or {}
    tensor = None if arguments else apply_function(model.func, t.matrix(model, frame), t.graph)
    if tensor is None:
        name = getattr(model.func, "__name__", repr(model.func))
        why = f"it calls the Python function {name!r}, which has no ONNX form"
        raise t.refusal(model, why, "compute that before the model, or use a NumPy function such as np.log1p")
    return numbers(tensor, width_of(frame))


def predict_transformed_target(model: Any, frame: Frame, t: Translator) -> str:
    """TransformedTargetRegressor: the inner prediction, turned back into the target's own scale."""
    inner = t.predict(model.regressor_, frame)
    made = inverse_transform(model.transformer_, inner, t.graph)
    if made is None:
        why = f"the inverse of {model.transformer_} has no ONNX form"
        raise t.refusal(model, why, "use np.log1p and np.expm1, np.log and np.exp, or a scaler")
    return made


DELEGATES: Mapping[str, Callable[[Any, Frame, Translator], tuple[Any, Frame, Translator]]] = {
    "Pipeline": last_step,
    "GridSearchCV": best_estimator,
    "RandomizedSearchCV": best_estimator,
    "HalvingGridSearchCV": best_estimator,
    "HalvingRandomSearchCV": best_estimator,
    "FrozenEstimator": frozen_estimator,
    "SelfTrainingClassifier": fitted_estimator,
    "RANSACRegressor": fitted_estimator,
    "RFE": selected_columns,
    "RFECV": selected_columns,
}

SELECTORS = (
    "GenericUnivariateSelect",
    "RFE",
    "RFECV",
    "SelectFdr",
    "SelectFpr",
    "SelectFromModel",
    "SelectFwe",
    "SelectKBest",
    "SelectPercentile",
    "SequentialFeatureSelector",
    "VarianceThreshold",
)

TRANSFORMERS: Mapping[str, Callable[[Any, Frame, Translator], Frame]] = {
    "ColumnTransformer": transform_columns,
    "FeatureUnion": unite_features,
    "FunctionTransformer": transform_by_function,
    **dict.fromkeys(SELECTORS, select_columns),
}

REGRESSORS: Mapping[str, Callable[[Any, Frame, Translator], str]] = {
    "TransformedTargetRegressor": predict_transformed_target,
}
