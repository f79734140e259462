"""skl2onnx, for what is not written here: one estimator over one matrix of numbers at a time."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto

from mlops_kit.errors import ConversionError, MissingExtraError
from mlops_kit.exporters.sklearn.blocks import Frame, width_of
from mlops_kit.exporters.sklearn.scores import best_of, label_array, labels_at
from mlops_kit.exporters.sklearn.translator import Classified, Translator, numbers

TARGET_OPSET = 21
FAILURES = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError, NameError)
"""What skl2onnx raises where it cannot go on; it has no exception of its own for most of that."""

RADIUS = "skl2onnx's form of it makes ONNX Runtime look up rows at negative positions"
BROKEN = {
    "GaussianProcessClassifier": "skl2onnx's form of it needs an operator, Solve, that ONNX Runtime lacks",
    "RadiusNeighborsClassifier": RADIUS,
    "RadiusNeighborsRegressor": RADIUS,
}
"""What skl2onnx converts without complaint, and wrongly."""


def transform_rest(model: Any, frame: Frame, t: Translator) -> Frame:
    """A transformer."""
    outputs = _splice(model, frame, t)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        width = np.asarray(_dense(model.transform(np.ones((1, width_of(frame)))))).shape[1]
    return numbers(outputs[0], width)


def predict_rest(model: Any, frame: Frame, t: Translator) -> str:
    """A regressor."""
    outputs = _splice(model, frame, t)
    answer = np.asarray(_ask(model.predict, width_of(frame)))
    return t.graph.add("Reshape", outputs[0], np.array([-1, answer[0].size], np.int64))


def classify_rest(model: Any, frame: Frame, t: Translator) -> Classified:
    """A classifier, cluster finder or outlier detector."""
    label, *scores = _splice(model, frame, t)
    probability = scores[0] if scores and hasattr(model, "predict_proba") else None
    classes = getattr(model, "classes_", None)
    if isinstance(classes, list) or (classes is not None and np.ndim(classes) > 1):
        raise t.refusal(model, "it predicts several labels at once", "wrap it in a MultiOutputClassifier")
    if classes is not None and label_array(classes).dtype.kind in "bf":
        if probability is None:
            raise t.refusal(model, "its labels are neither whole numbers nor text", "train it on such labels")
        label = labels_at(best_of(probability, t), classes, t)
    return Classified(t.graph.add("Reshape", label, np.array([-1], np.int64)), probability)


def _ask(method: Callable[[Any], Any], width: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return method(np.ones((1, width)))


def _dense(values: Any) -> Any:
    return values.toarray() if hasattr(values, "toarray") else values


def _splice(model: Any, frame: Frame, t: Translator) -> list[str]:
    """The outputs of skl2onnx's graph for this estimator; numbers among them in the dtype of ours."""
    _check_known(model, t)
    matrix = t.matrix(model, frame)
    graph, dtype = _converted(model, width_of(frame), t)
    if dtype != t.graph.dtype:
        matrix = t.graph.cast(matrix, dtype.name)
    outputs = t.graph.splice(graph, {graph.input[0].name: matrix})
    types = [output.type.tensor_type.elem_type for output in graph.output]
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE)
    return [
        t.graph.cast(name) if elem_type in floats and elem_type != t.graph.elem_type else name
        for name, elem_type in zip(outputs, types, strict=True)
    ]


def _check_known(model: Any, t: Translator) -> None:
    try:
        from skl2onnx._supported_operators import sklearn_operator_name_map
    except ImportError as error:
        raise MissingExtraError("skl2onnx", "sklearn", "exporting a scikit-learn model") from error
    if type(model).__name__ in BROKEN:
        raise t.refusal(model, BROKEN[type(model).__name__])
    if type(model) not in sklearn_operator_name_map:
        raise t.refusal(model, f"neither mlkit nor skl2onnx has an ONNX form of {type(model).__name__}")


def _converted(model: Any, width: int, t: Translator) -> tuple[onnx.GraphProto, np.dtype[Any]]:
    """The estimator's graph in the dtype that is wanted, or else in float32."""
    single = np.dtype(np.float32)
    try:
        return convert_alone(model, width, t.leaf_dtype, t).graph, t.leaf_dtype
    except ConversionError:
        if t.leaf_dtype == single:
            raise
    return convert_alone(model, width, single, t).graph, single


def convert_alone(model: Any, width: int, dtype: np.dtype[Any], t: Translator) -> onnx.ModelProto:
    """The estimator by itself. Raises ConversionError, naming what skl2onnx lacks."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    from sklearn.base import is_classifier

    kind = DoubleTensorType if dtype == np.float64 else FloatTensorType
    options = {id(model): {"zipmap": False}} if is_classifier(model) else None
    types = [("X", kind([None, width]))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = convert_sklearn(model, "model", types, target_opset=TARGET_OPSET, options=options)
    except FAILURES as error:
        line = str(error).strip().split("\n", 1)[0]
        raise t.refusal(model, f"skl2onnx: {line or type(error).__name__}") from error
    if not isinstance(made, onnx.ModelProto):
        raise t.refusal(model, "skl2onnx gave no model")
    return onnx.inliner.inline_local_functions(made) if made.functions else made
