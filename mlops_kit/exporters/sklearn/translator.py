"""Walk over a fitted estimator and write its graph: our own forms first, skl2onnx's for the rest.

Why not skl2onnx throughout: it computes preprocessing in float32 (categories as int64, imputed values and
thresholds as float32), so that a model which splits on large integers answers differently, and it gives up
on text with missing values. Here every composite (pipelines, ensembles) is taken apart and computed in
float64; skl2onnx sees single estimators over one matrix of numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from mlops_kit.errors import ConversionError
from mlops_kit.exporters.sklearn.blocks import Block, Frame, marked, merge
from mlops_kit.exporters.sklearn.graph import GraphBuilder
from mlops_kit.exporters.sklearn.sparsity import gives_sparse


@dataclass(frozen=True, slots=True)
class Classified:
    """What a classifier, cluster finder or outlier detector says of every row.

    `label` has shape (rows,), `probability` (rows, classes), `decision` (rows, classes), or (rows, 1)
    where two classes share one score.
    """

    label: str
    probability: str | None = None
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class Tables:
    """Which function writes which estimator, by class name.

    A delegate is an estimator that hands its rows on: the function gives the inner one, with its columns.
    """

    transformers: "Mapping[str, Callable[[Any, Frame, Translator], Frame]]"
    regressors: "Mapping[str, Callable[[Any, Frame, Translator], str]]"
    classifiers: "Mapping[str, Callable[[Any, Frame, Translator], Classified]]"
    multi_classifiers: "Mapping[str, Callable[[Any, Frame, Translator], list[Classified]]]"
    delegates: "Mapping[str, Callable[[Any, Frame, Translator], tuple[Any, Frame, Translator]]]"
    transform_rest: "Callable[[Any, Frame, Translator], Frame]"
    predict_rest: "Callable[[Any, Frame, Translator], str]"
    classify_rest: "Callable[[Any, Frame, Translator], Classified]"


Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Translator:
    """Writes estimators into one graph.

    `null_text` is what stands for a missing text, `leaf_dtype` the dtype in which skl2onnx's parts compute,
    `path` the steps on the way to the estimator at hand, for error messages.
    """

    graph: GraphBuilder
    tables: Tables
    null_text: str
    leaf_dtype: np.dtype[Any]
    path: tuple[str, ...] = ()

    def under(self, step: str) -> "Translator":
        """The same translator, one step deeper."""
        return Translator(self.graph, self.tables, self.null_text, self.leaf_dtype, (*self.path, step))

    def transform(self, model: Any, frame: Frame) -> Frame:
        """The columns that a transformer makes of these."""
        made = self._apply(self.tables.transformers, self.tables.transform_rest, model, frame, "transform")
        return marked(made, is_sparse=gives_sparse(model, frame, made))

    def predict(self, model: Any, frame: Frame) -> str:
        """What a regressor predicts, shape (rows, targets)."""
        return self._apply(self.tables.regressors, self.tables.predict_rest, model, frame, "predict")

    def classify(self, model: Any, frame: Frame) -> Classified:
        """What a classifier, cluster finder or outlier detector says."""
        return self._apply(self.tables.classifiers, self.tables.classify_rest, model, frame, "classify")

    def classify_each(self, model: Any, frame: Frame) -> list[Classified]:
        """What a classifier of several targets says, target by target."""
        return self._apply(self.tables.multi_classifiers, _no_multi_classifier, model, frame, "classify_each")

    def _apply(
        self,
        table: "Mapping[str, Callable[[Any, Frame, Translator], Result]]",
        rest: "Callable[[Any, Frame, Translator], Result]",
        model: Any,
        frame: Frame,
        method: str,
    ) -> Result:
        name = kind_name(model)
        if name in table:
            return table[name](model, frame, self)
        if name in self.tables.delegates:
            inner, columns, deeper = self.tables.delegates[name](model, frame, self)
            result: Result = getattr(deeper, method)(inner, columns)
            return result
        return rest(model, frame, self)

    def matrix(self, model: Any, frame: Frame) -> str:
        """The columns as one matrix of numbers. Raises ConversionError if there is text among them."""
        blocks = merge(frame, self.graph)
        if any(block.is_text for block in blocks):
            why = "it takes numbers, and one of its columns is text"
            raise self.refusal(
                model, why, "encode the text first, or give a sample whose columns have the right types"
            )
        if not blocks:
            raise self.refusal(model, "no column is left for it", "check which columns the step selects")
        return blocks[0].tensor

    def refusal(self, model: Any, why: str, fix: str = "") -> ConversionError:
        """The error that says which estimator cannot be exported, where it is, and why."""
        where = f" (step {'/'.join(self.path)!r})" if self.path else ""
        return ConversionError(
            f"cannot convert {type(model).__name__}{where}", why, fix or "use another estimator in its place"
        )


def kind_name(model: Any) -> str:
    """The class name of scikit-learn's and the boosters' own estimators; a subclass may do anything.

    >>> kind_name(3)
    ''
    """
    package = type(model).__module__.partition(".")[0]
    return type(model).__name__ if package in ("sklearn", "catboost", "lightgbm", "xgboost") else ""


def numbers(tensor: str, width: int) -> Frame:
    """A single matrix of numbers, as columns."""
    return (Block(tensor, width),)


def _no_multi_classifier(model: Any, _frame: Frame, t: Translator) -> list[Classified]:
    raise t.refusal(
        model,
        "it predicts several targets at once",
        "train one classifier per target (MultiOutputClassifier)",
    )
