"""Looking into a fitted estimator: its parts, where its columns enter, how it marks missing text."""

from collections.abc import Iterator
from typing import Any

import numpy as np

DOCUMENTS = ("CountVectorizer", "HashingVectorizer", "TfidfVectorizer")
"""They take a column of texts as it is, not a matrix."""

PARTS = ("best_estimator_", "estimator_", "regressor_", "final_estimator_", "_preprocessor")
LISTS = ("estimators_", "calibrated_classifiers_")
NAMED_LISTS = ("transformers_", "transformer_list", "steps")


def parts_of(model: Any) -> Iterator[Any]:
    """The estimators that this one is made of, the first to see a row first; not the parts' own parts."""
    for name in NAMED_LISTS:
        yield from (entry[1] for entry in getattr(model, name, ()))
    for name in LISTS:
        members = getattr(model, name, [])
        yield from members.ravel() if isinstance(members, np.ndarray) else members
    for name in PARTS:
        if name in vars(model):
            yield vars(model)[name]
    if type(model).__name__ in ("_CalibratedClassifier", "FrozenEstimator", "FixedThresholdClassifier"):
        yield model.estimator


def walk(model: Any) -> Iterator[Any]:
    """The estimator and all of its parts, at any depth."""
    yield model
    for part in parts_of(model):
        if not isinstance(part, str) and part is not None:
            yield from walk(part)


def first_part(model: Any) -> Any:
    """What sees the columns first: a pipeline's first step, or the estimator itself."""
    name = type(model).__name__
    if name == "Pipeline":
        steps = [step for _, step in model.steps if step is not None and not isinstance(step, str)]
        return first_part(steps[0]) if steps else model
    if "best_estimator_" in vars(model):
        return first_part(model.best_estimator_)
    return model


def known(model: Any, attribute: str) -> Any:
    """An attribute of the estimator, or of the first of its parts that sees the same columns; else None."""
    value = getattr(model, attribute, None)
    if value is not None:
        return value
    first = first_part(model)
    if first is not model:
        return known(first, attribute)
    for part in parts_of(model):
        if type(model).__name__ != "ColumnTransformer" and hasattr(part, "get_params"):
            value = known(part, attribute)
            if value is not None:
                return value
    return None


def takes_documents(model: Any) -> bool:
    """Whether the model takes one text per row instead of columns."""
    first = first_part(model)
    name = type(first).__name__
    if name in DOCUMENTS:
        return True
    if name == "ColumnTransformer":
        return False
    return any(takes_documents(part) for part in parts_of(first) if hasattr(part, "get_params"))


def takes_text(model: Any) -> bool:
    """Whether some part was fitted on text."""
    return any(type(part).__name__ in DOCUMENTS or _has_text(_constants(part)) for part in walk(model))


def null_of(model: Any) -> float | None:
    """How the model's training data marked missing text: None or NaN."""
    for part in walk(model):
        if getattr(part, "missing_values", np.nan) is None or any(value is None for value in _constants(part)):
            return None
    return np.nan


def all_texts(model: Any) -> set[str]:
    """Every text that the model compares with."""
    return {value for part in walk(model) for value in _constants(part) if isinstance(value, str)}


def describe(model: Any) -> str:
    """The model in one line: "Pipeline(ColumnTransformer, Ridge)"."""
    name = type(model).__name__
    if name == "Pipeline":
        return f"{name}({', '.join(describe(step) for _, step in model.steps if hasattr(step, 'get_params'))})"
    if "best_estimator_" in vars(model):
        return f"{name}({describe(model.best_estimator_)})"
    return name


def _constants(part: Any) -> list[Any]:
    categories = getattr(part, "categories_", ())
    statistics = getattr(part, "statistics_", ())
    marker = getattr(part, "missing_values", None)
    values = [value for group in categories for value in group] if isinstance(categories, list) else []
    return [*values, *np.ravel(statistics), *([marker] if isinstance(marker, str) else [])]


def _has_text(values: list[Any]) -> bool:
    return any(isinstance(value, str) for value in values)


def last_part(model: Any) -> Any:
    """What answers in the end: a pipeline's last step, or the estimator itself."""
    if type(model).__name__ == "Pipeline":
        return last_part(model.steps[-1][1])
    return last_part(model.best_estimator_) if "best_estimator_" in vars(model) else model
