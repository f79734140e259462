"""What a model answers: the names of its outputs, in the graph and from scikit-learn itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mlops_kit.errors import ConversionError
from mlops_kit.exporters.sklearn.anatomy import describe, last_part
from mlops_kit.exporters.sklearn.blocks import Frame
from mlops_kit.exporters.sklearn.scores import label_array
from mlops_kit.exporters.sklearn.translator import Classified, Translator
from mlops_kit.schema import Array, Columns, Output

Kind = Literal[
    "classifier", "multi_classifier", "regressor", "outlier_detector", "clusterer", "mixture", "transformer"
]
TARGET_ENCODERS = ("LabelBinarizer", "LabelEncoder", "MultiLabelBinarizer")


@dataclass(frozen=True, slots=True)
class Answers:
    """How a model is asked. `classes` has the labels of every target, `names` a transformer's columns."""

    kind: Kind
    classes: tuple[Array, ...] = ()
    has_probability: bool = False
    names: tuple[str, ...] = ()

    def output_names(self) -> Iterator[str]:
        """The names that the graph's outputs have or may be given."""
        yield from self.names
        yield from ("prediction", "probability", "score", "transformed")
        is_single = len(self.classes) == 1
        for target, classes in enumerate(self.classes):
            suffix = "" if is_single else f"_{target}"
            yield f"prediction{suffix}"
            yield from (f"probability{suffix}_{value}" for value in classes.tolist())


def look_at_answers(model: Any, rows: Any) -> Answers:
    """Find out by the model's type, and by asking it about a few rows. Raises ConversionError."""
    from sklearn.utils import get_tags

    kind = get_tags(model).estimator_type
    has_probability = hasattr(model, "predict_proba")
    if type(model).__name__ in TARGET_ENCODERS:
        raise ConversionError(f"cannot convert {type(model).__name__}", "it transforms targets, not features")
    if kind == "classifier":
        classes = model.classes_
        if not _is_multiple(last_part(model), classes):
            if _columns(model.predict(rows)) > 1:
                why = "it predicts several labels at once"
                raise ConversionError(
                    f"cannot convert {describe(model)}", why, "wrap it in a MultiOutputClassifier"
                )
            return Answers("classifier", (label_array(classes),), has_probability)
        groups = classes if isinstance(classes, list) else [np.array([0, 1])] * len(classes)
        return Answers("multi_classifier", tuple(label_array(group) for group in groups), has_probability)
    if kind == "outlier_detector" and hasattr(model, "predict"):
        return Answers("outlier_detector")
    if kind == "clusterer" and hasattr(model, "predict"):
        return Answers("clusterer")
    if kind == "density_estimator" and has_probability:
        return Answers("mixture", (np.arange(_columns(model.predict_proba(rows))),))
    if kind == "regressor":
        width = _columns(model.predict(rows))
        return Answers(
            "regressor",
            names=("prediction",) if width == 1 else tuple(f"prediction_{i}" for i in range(width)),
        )
    if hasattr(model, "transform"):
        names = tuple(_column_names(model, _columns(model.transform(rows))))
        if not names:
            raise ConversionError(
                f"cannot convert {type(model).__name__}", "it keeps no column", "check what it selects"
            )
        return Answers("transformer", names=names)
    raise ConversionError(
        f"cannot convert {type(model).__name__}",
        "it has neither predict nor transform for new rows",
        "export a model that does",
    )


def _is_multiple(model: Any, classes: Any) -> bool:
    return isinstance(classes, list) or bool(getattr(model, "multilabel_", False)) or np.ndim(classes) > 1


def _columns(values: Any) -> int:
    return 1 if len(values.shape) == 1 else int(values.shape[1])


def _column_names(model: Any, width: int) -> Iterator[str]:
    try:
        names = [str(name) for name in model.get_feature_names_out()]
    except (AttributeError, ValueError):
        names = []
    if len(names) != width:
        names = ["transformed"] if width == 1 else [f"transformed_{i}" for i in range(width)]
    seen: set[str] = set()
    for name in names:
        while name in seen:
            name += "_"
        seen.add(name)
        yield name


def write_answers(answers: Answers, model: Any, frame: Frame, t: Translator) -> tuple[Output, ...]:
    """Write the whole model and its outputs."""
    if answers.kind == "regressor":
        return _matrix(t.predict(model, frame), "prediction", answers.names, t)
    if answers.kind == "transformer":
        return _transformed(t.transform(model, frame), answers.names, t)
    if answers.kind == "multi_classifier":
        targets = t.classify_each(model, frame)
        return tuple(
            output
            for i, (target, classes) in enumerate(zip(targets, answers.classes, strict=True))
            for output in _classified(target, classes, answers.has_probability, f"_{i}", t)
        )
    answer = t.classify(model, frame)
    if answers.kind == "classifier":
        return _classified(answer, answers.classes[0], answers.has_probability, "", t)
    if answers.kind == "mixture":
        return _classified(answer, answers.classes[0], True, "", t)
    label = (_label(answer.label, "prediction", "int64", t),)
    if answers.kind == "outlier_detector" and answer.decision is not None:
        return (*label, *_matrix(answer.decision, "score", ("score",), t))
    return label


def _classified(
    answer: Classified, classes: Array, has_probability: bool, suffix: str, t: Translator
) -> tuple[Output, ...]:
    dtype = "string" if classes.dtype == object else classes.dtype.name
    label = _label(answer.label, f"prediction{suffix}", dtype, t)
    if not has_probability:
        return (label,)
    if answer.probability is None:
        raise ConversionError(
            "cannot convert the classifier", "its probability has no ONNX form", "use another estimator"
        )
    names = [f"probability{suffix}_{value}" for value in classes.tolist()]
    return (label, *_matrix(answer.probability, f"probability{suffix}", names, t))


def _label(tensor: str, name: str, dtype: str, t: Translator) -> Output:
    return Output(name, dtype, t.graph.add_output(name, tensor, dtype, None))


def _matrix(tensor: str, hint: str, names: Sequence[str], t: Translator) -> tuple[Output, ...]:
    dtype = t.graph.dtype.name
    made = t.graph.add_output(hint, tensor, dtype, len(names))
    if len(names) == 1:
        return (Output(names[0], dtype, made),)
    return tuple(Output(name, dtype, made, index) for index, name in enumerate(names))


def _transformed(frame: Frame, names: Sequence[str], t: Translator) -> tuple[Output, ...]:
    outputs: list[Output] = []
    for block in frame:
        dtype = "string" if block.is_text else t.graph.dtype.name
        made = t.graph.add_output("transformed", block.tensor, dtype, block.width)
        for index in range(block.width):
            outputs.append(Output(names[len(outputs)], dtype, made, index))
    return tuple(outputs)


def ask(answers: Answers, model: Any, rows: Any) -> Columns:
    """scikit-learn's own answers, by the same names."""
    if answers.kind == "transformer":
        return dict(zip(answers.names, _split_columns(model.transform(rows)), strict=True))
    labels = np.asarray(model.predict(rows))
    if answers.kind == "regressor":
        matrix = labels.reshape(len(labels), -1)
        return {name: matrix[:, i] for i, name in enumerate(answers.names)}
    if answers.kind == "multi_classifier":
        return _ask_each(answers, model, rows, labels)
    made = {"prediction": _as_labels(labels, answers.classes)}
    if answers.kind == "outlier_detector" and _has_score(model):
        made["score"] = np.asarray(model.decision_function(rows)).ravel()
    if answers.kind == "mixture" or answers.has_probability:
        shares = np.asarray(model.predict_proba(rows))
        made |= {f"probability_{value}": shares[:, i] for i, value in enumerate(answers.classes[0].tolist())}
    return made


def _has_score(model: Any) -> bool:
    return type(last_part(model)).__name__ in ("IsolationForest", "OneClassSVM", "SGDOneClassSVM")


def _ask_each(answers: Answers, model: Any, rows: Any, labels: Array) -> Columns:
    made: dict[str, Array] = {}
    shares = model.predict_proba(rows) if answers.has_probability else None
    for i, classes in enumerate(answers.classes):
        made[f"prediction_{i}"] = _as_labels(_dense(labels)[:, i], (classes,))
        if shares is None:
            continue
        share = shares[i] if isinstance(shares, list) else np.stack([1 - shares[:, i], shares[:, i]], axis=1)
        made |= {f"probability_{i}_{value}": share[:, k] for k, value in enumerate(classes.tolist())}
    return made


def _dense(values: Any) -> Any:
    return values.toarray() if hasattr(values, "toarray") else values


def _as_labels(labels: Array, classes: Sequence[Array]) -> Array:
    """Labels in the dtype that the graph gives."""
    labels = labels.reshape(len(labels))  # CatBoost gives a column
    return labels.astype(classes[0].dtype) if classes else labels.astype(np.int64)


def _split_columns(made: Any) -> Iterator[Array]:
    made = _dense(made)
    if hasattr(made, "iloc"):
        columns = [made.iloc[:, i].to_numpy() for i in range(made.shape[1])]
    else:
        matrix = np.asarray(made)
        columns = list(matrix.reshape(len(matrix), -1).T)
    for column in columns:
        is_text = column.dtype.kind in "UT" or any(
            isinstance(value, str) for value in column if column.dtype == object
        )
        yield (
            np.array([v if isinstance(v, str) else None for v in column], object)
            if is_text
            else column.astype(float)
        )
