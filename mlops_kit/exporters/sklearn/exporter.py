"""scikit-learn: estimators and pipelines, fitted in memory.

`translator.py` walks over the estimator and writes the graph; most other files are families of estimators,
listed in `tables.py`. What is not written here goes to skl2onnx (`converter.py`).
"""

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlops_kit.errors import ConversionError, MissingExtraError, MlkitError, SampleError, SourceError
from mlops_kit.exporters.interface import Conversion, Sample, SourceModel
from mlops_kit.exporters.sklearn.anatomy import describe, walk
from mlops_kit.exporters.sklearn.answers import Answers, look_at_answers, write_answers
from mlops_kit.exporters.sklearn.graph import GraphBuilder
from mlops_kit.exporters.sklearn.inputs import Inputs, add_inputs, look_at_inputs
from mlops_kit.exporters.sklearn.original import reference_of, rows_for
from mlops_kit.exporters.sklearn.tables import TABLES
from mlops_kit.exporters.sklearn.translator import Translator
from mlops_kit.schema import Array, Signature

BOOSTERS = ("catboost", "lightgbm", "xgboost")
VARIANTS = {
    "float64": ("float64", "float64"),
    "float64, single estimators in float32": ("float64", "float32"),
    "float32": ("float32", "float32"),
}
"""Name → the dtype of the graph and that of skl2onnx's parts."""


def recognises(model: object) -> bool:
    """An instance of scikit-learn's BaseEstimator; that is found out without importing scikit-learn."""
    return any(
        kind.__name__ == "BaseEstimator" and kind.__module__ == "sklearn.base" for kind in type(model).__mro__
    )


def recognises_file(path: Path, head: bytes) -> bool:  # noqa: ARG001 - part of the interface
    """scikit-learn has no file format of its own."""
    return False


def read(path: Path) -> object:
    """Raises SourceError: there is nothing to read but pickles, which are read elsewhere."""
    raise SourceError(
        f"{path}: scikit-learn has no file format of its own", "it is saved as a pickle or with skops"
    )


def adapt(model: object, sample: Sample | None) -> SourceModel:
    """See `Exporter.adapt`."""
    _check_fitted(model)
    inputs = look_at_inputs(model, sample)
    answers = _ask_first(model, inputs, sample)
    return SourceModel(
        framework="scikit-learn",
        versions=_versions(model),
        description=describe(model),
        columns=inputs.columns,
        reference=reference_of(model, inputs, answers),
        conversions=lambda: _conversions(model, inputs, answers),
    )


def _check_fitted(model: Any) -> None:
    try:
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "sklearn", "exporting a scikit-learn model") from error
    try:
        check_is_fitted(model)
    except (NotFittedError, TypeError) as error:
        raise ConversionError(
            f"the {type(model).__name__} is not fitted", "there is nothing to export yet", "fit it first"
        ) from error


def _ask_first(model: Any, inputs: Inputs, sample: Sample | None) -> Answers:
    """See what the model answers. Two rows: some of scikit-learn's estimators lose a dimension with one."""
    if sample is not None:
        rows = {column.name: np.resize(sample.columns[column.name], 2) for column in inputs.columns}
    else:
        rows = {column.name: _made_up(column.dtype) for column in inputs.columns}
    try:
        return look_at_answers(model, rows_for(inputs, rows))
    except MlkitError:
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        raise SampleError(
            f"the {type(model).__name__} cannot predict the {'made-up rows' if sample is None else 'sample'}",
            line,
            "give a --sample with the columns and dtypes that it was trained on",
        ) from error


def _made_up(dtype: str) -> Array:
    return np.array(["a", "a"], object) if dtype == "string" else np.ones(2, dtype)


def _versions(model: Any) -> dict[str, str]:
    packages = {type(part).__module__.partition(".")[0] for part in walk(model)}
    names = ["scikit-learn", *(name for name in BOOSTERS if name in packages)]
    if importlib.util.find_spec("skl2onnx") is not None:
        names.append("skl2onnx")
    return {name: importlib.metadata.version(name) for name in names}


def _conversions(model: Any, inputs: Inputs, answers: Answers) -> Iterator[Conversion]:
    """Without parts of skl2onnx, the second form is the same as the first, and left out."""
    names = list(VARIANTS)
    if inputs.is_single_precision:
        names.insert(0, names.pop())
    seen: set[bytes] = set()
    for name in names:
        conversion = _convert(model, inputs, answers, name)
        content = conversion.graph.SerializeToString(deterministic=True)
        if content not in seen:
            seen.add(content)
            yield conversion


def _convert(model: Any, inputs: Inputs, answers: Answers, variant: str) -> Conversion:
    dtype, leaf_dtype = VARIANTS[variant]
    graph = GraphBuilder(dtype, answers.output_names())
    tensors, frame = add_inputs(inputs, graph)
    translator = Translator(graph, TABLES, inputs.null_text, np.dtype(leaf_dtype))
    outputs = write_answers(answers, model, frame, translator)
    return Conversion(graph.model(), Signature(inputs.columns, tensors, outputs), variant)
