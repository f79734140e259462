"""CatBoost's JSON form of a model, read into trees.

CatBoost asks whether a value is greater than a border; the trees here ask whether it is not, which is the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlops_kit.errors import ConversionError
from mlops_kit.exporters.trees.ensemble import Tree, add_bases
from mlops_kit.schema import Array

DTYPE = "float64"


@dataclass(frozen=True, slots=True)
class ModelJson:
    """What `save_model(format="json")` writes, decoded."""

    content: Mapping[str, Any]

    @property
    def loss(self) -> str:
        """The name of the loss function; "" for one written in Python."""
        loss = self.content["model_info"].get("params", {}).get("loss_function", {}).get("type", "")
        return "" if loss.startswith("Python") else str(loss)

    @property
    def classes(self) -> list[Any] | None:
        """The labels of a classifier, in order."""
        info = self.content["model_info"].get("class_params")
        return None if info is None else info["class_names"] or info["class_to_label"]

    @property
    def threshold(self) -> float:
        """The probability above which the second of two classes is the answer."""
        return float(self.content["model_info"].get("binclass_probability_threshold", 0.5))

    @property
    def scores(self) -> int:
        """The number of raw scores."""
        return len(self.content["scale_and_bias"][1])

    @property
    def trees(self) -> Sequence[Mapping[str, Any]]:
        """The trees, symmetric or not."""
        kind = "oblivious_trees" if "oblivious_trees" in self.content else "trees"
        trees: Sequence[Mapping[str, Any]] = self.content[kind]
        return trees


def check_features(others: Mapping[str, Sequence[int]]) -> None:
    """Raise ConversionError if the model takes anything but numbers: kind of feature → columns."""
    for kind, columns in others.items():
        if columns:
            raise ConversionError(
                f"the CatBoost model takes {kind} in {len(columns)} of its columns",
                "CatBoost turns them into numbers by tables that have no ONNX form; its own export refuses, too",
                "encode them as numbers before training, as with scikit-learn's OrdinalEncoder or TargetEncoder",
            )


def read_trees(model: ModelJson) -> list[Tree]:
    """The trees with scale and bias in their leaves."""
    scale, bias = model.content["scale_and_bias"]
    columns, nan_is_low = _float_features(model)
    trees: list[Tree] = []
    for content in model.trees:
        shape = _symmetric(content) if "splits" in content else _free(content)
        feature = np.array(shape.features, np.int64)
        leaves = np.array(shape.leaves, DTYPE).reshape(-1, model.scores) * scale
        trees += [
            Tree(
                columns[feature],
                np.array(shape.borders, DTYPE),
                yes=np.array(shape.low, np.int64),
                no=np.array(shape.high, np.int64),
                nan_yes=nan_is_low[feature],
                leaves=leaves[:, target],
                target=target,
            )
            for target in range(model.scores)
        ]
    return add_bases(trees, bias, DTYPE)


@dataclass(slots=True)
class _Shape:
    """A tree's splits as lists: on which feature and border, and where lower and higher values go."""

    features: list[int] = field(default_factory=list)
    borders: list[float] = field(default_factory=list)
    low: list[int] = field(default_factory=list)
    high: list[int] = field(default_factory=list)
    leaves: list[Any] = field(default_factory=list)

    def add_split(self, split: Mapping[str, Any]) -> int:
        self.features.append(split["float_feature_index"])
        self.borders.append(split["border"])
        self.low.append(0)
        self.high.append(0)
        return len(self.features) - 1


def _float_features(model: ModelJson) -> tuple[Array, Array]:
    """Of each number: its column, and whether a missing value counts as lower than every border."""
    features = model.content["features_info"].get("float_features", [])
    columns = np.array([feature["flat_feature_index"] for feature in features], np.int64)
    nan_is_low = np.array([feature["nan_value_treatment"] != "AsTrue" for feature in features], bool)
    return columns, nan_is_low


def _symmetric(content: Mapping[str, Any]) -> _Shape:
    """A tree that asks the same question on a whole level; the first question is the leaf number's lowest bit."""
    splits, shape = content["splits"], _Shape(leaves=content["leaf_values"])
    depth = len(splits)
    for level, split in enumerate(reversed(splits)):
        for place in range(2**level):
            shape.add_split(split)
            first = 2 * place
            is_last = level == depth - 1
            shape.low[-1], shape.high[-1] = (
                (~first, ~(first + 1)) if is_last else (2 ** (level + 1) - 1 + first, 2 ** (level + 1) + first)
            )
    return shape


def _free(content: Mapping[str, Any]) -> _Shape:
    """A tree whose branches differ."""
    shape = _Shape()
    for parent, side, node in _walk(content, shape):
        if parent is not None:
            getattr(shape, side)[parent] = node
    return shape


def _walk(content: Mapping[str, Any], shape: _Shape) -> Iterator[tuple[int | None, str, int]]:
    waiting: list[tuple[int | None, str, Mapping[str, Any]]] = [(None, "", content)]
    while waiting:
        parent, side, node = waiting.pop()
        if "split" in node:
            index = shape.add_split(node["split"])
            waiting += [(index, "high", node["right"]), (index, "low", node["left"])]
            yield parent, side, index
        else:
            shape.leaves.append(node["value"])
            yield parent, side, ~(len(shape.leaves) - 1)
