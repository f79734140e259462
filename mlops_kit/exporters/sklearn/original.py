"""The fitted model itself, asked with columns by name."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from mlops_kit.exporters.sklearn.answers import Answers, ask
from mlops_kit.exporters.sklearn.inputs import Inputs
from mlops_kit.schema import Array, Columns


def rows_for(inputs: Inputs, columns: Columns) -> Any:
    """Columns in the form that the model was fitted on: a frame, a matrix, or a list of texts."""
    values = [_with_nulls(columns[column.name], inputs.null) for column in inputs.columns]
    if inputs.are_documents:
        return values[0]
    if inputs.own_names is None:
        return _matrix(values)
    import pandas as pd

    names = [inputs.own_names[position] for position in inputs.positions]
    return pd.DataFrame(
        {name: pd.Series(value, dtype=value.dtype) for name, value in zip(names, values, strict=True)}
    )


def _with_nulls(values: Array, null: float | None) -> Array:
    if values.dtype != object or null is None:
        return values
    return np.array([null if value is None else value for value in values], object)


def _matrix(values: list[Array]) -> Array:
    matrix = np.empty((len(values[0]), len(values)), np.result_type(*values))
    for index, value in enumerate(values):
        matrix[:, index] = value
    return matrix


def reference_of(model: Any, inputs: Inputs, answers: Answers) -> Callable[[Columns], Columns]:
    """scikit-learn's answers to columns by name."""

    def reference(columns: Columns) -> Columns:
        with warnings.catch_warnings():
            # The model itself gets names if it was fitted with them; this is about parts inside of it.
            warnings.filterwarnings("ignore", message=".*valid feature names.*", category=UserWarning)
            warnings.filterwarnings("ignore", message="Found unknown categories", category=UserWarning)
            return ask(answers, model, rows_for(inputs, columns))

    return reference
