"""From columns to the matrix of numbers that trees split on: names, dtypes, category codes, missing values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlops_kit.errors import ConversionError, MissingColumnsError, SampleError
from mlops_kit.exporters.graphs.building import GraphBuilder, make_tensor
from mlops_kit.exporters.interface import Sample
from mlops_kit.schema import FLOATS, Array, Column, Columns, Tensor

MATRIX = "features"
CATEGORY_DTYPES = {str: "string", bool: "bool", int: "int64", float: "float64"}
Category = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of the trees: a number, or a category that becomes its position in `categories`.

    A category that is not among them, or is missing, becomes NaN.
    """

    column: Column
    categories: tuple[Category, ...] | None = None

    @property
    def key_dtype(self) -> str:
        """The dtype in which categories are looked up."""
        if self.column.dtype == "string":
            return "string"
        is_whole = self.column.dtype not in FLOATS and not any(isinstance(c, float) for c in self.categories or ())
        return "int64" if is_whole else "float64"


def match_names(names: Sequence[str], sample: Sample | None, are_invented: bool) -> list[str]:
    """The sample's names of the model's inputs, in the model's order.

    Where the framework made the names up, the sample's columns are taken in their order. Spaces and
    underscores are the same, because LightGBM replaces the ones with the others.
    Raises MissingColumnsError, or SampleError where the number of columns differs.
    """
    if sample is None or all(name in sample.columns for name in names):
        return list(names)
    if are_invented:
        if len(sample.columns) != len(names):
            raise SampleError(
                f"the sample has {len(sample.columns)} columns, and the model takes {len(names)}",
                "it was trained without column names, so the sample has to have just its inputs, in their order",
                "leave out the target and every column that the model does not take",
            )
        return list(sample.columns)
    aliases = {re.sub(r"\s", "_", name): name for name in sample.columns}
    matched = [name if name in sample.columns else aliases.get(name, name) for name in names]
    if missing := [name for name in matched if name not in sample.columns]:
        raise MissingColumnsError(missing, sample.columns)
    return matched


def number_column(name: str, sample: Sample | None, default: str) -> Column:
    """A column that the model takes as a number. Raises SampleError if it is text or has a shape."""
    dtype = default if sample is None else _dtype(name, sample.columns)
    if dtype == "string":
        raise SampleError(
            f"column {name!r} of the sample is text, and the model takes a number",
            fix="give the column as it was at training",
        )
    return Column(name, dtype, nullable=dtype in FLOATS)


def category_column(name: str, categories: Sequence[Category], sample: Sample | None) -> Column:
    """A column of the categories that the model was trained on. Raises SampleError, ConversionError."""
    kinds = {type(category) for category in categories}
    if not kinds <= {int, float} and len(kinds) > 1:
        raise ConversionError(
            f"the categories of {name!r} are of several types",
            fix="train on categories that are all text or all numbers",
        )
    known = CATEGORY_DTYPES.get(kinds.pop() if len(kinds) == 1 else float)
    if known is None:
        raise ConversionError(
            f"the categories of {name!r} are neither text nor numbers",
            fix="train on text, whole numbers or truth values",
        )
    dtype = known if sample is None else _dtype(name, sample.columns)
    if (dtype == "string") != (known == "string") and categories:
        raise SampleError(
            f"column {name!r} of the sample is {dtype}, and the model's categories there are {known}",
            fix="give the column as it was at training",
        )
    return Column(name, dtype, nullable=dtype in FLOATS or dtype == "string")


def build_matrix(
    graph: GraphBuilder, features: Sequence[Feature], dtype: str
) -> tuple[tuple[Tensor, ...], str, Array]:
    """Declare the inputs and put the matrix together.

    Returns the tensors, the matrix's name, and the matrix column of each feature: numbers come first, then
    the categories.
    """
    numbers = [index for index, feature in enumerate(features) if feature.categories is None]
    others = [index for index, feature in enumerate(features) if feature.categories is not None]
    tensors, parts = [], []
    if numbers:
        names = tuple(features[index].column.name for index in numbers)
        graph.add_input(MATRIX, dtype, ["rows", len(names)])
        tensors.append(Tensor(MATRIX, dtype, names, "matrix"))
        parts.append(MATRIX)
    for index in others:
        tensors.append(_category_tensor(features[index]))
        parts.append(_add_codes(graph, features[index], tensors[-1], dtype))
    matrix = parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)
    positions = np.empty(len(features), np.int64)
    positions[numbers + others] = np.arange(len(features))
    return tuple(tensors), matrix, positions


def set_missing(graph: GraphBuilder, matrix: str, limits: Mapping[int, float], width: int, dtype: str) -> str:
    """Make numbers NaN whose absolute value is within their column's limit."""
    row = np.full((1, width), -1.0)
    row[0, list(limits)] = list(limits.values())
    near_zero = graph.add("LessOrEqual", graph.add("Abs", matrix), graph.constant(row, dtype))
    return graph.add("Where", near_zero, graph.constant(np.nan, dtype), matrix)


def set_missing_value(graph: GraphBuilder, matrix: str, value: float, dtype: str) -> str:
    """Make the numbers NaN that are `value`, in every column."""
    return graph.add(
        "Where",
        graph.add("Equal", matrix, graph.constant(value, dtype)),
        graph.constant(np.nan, dtype),
        matrix,
    )


def truncate(graph: GraphBuilder, matrix: str, columns: Sequence[int], width: int, dtype: str) -> str:
    """Drop the fractions in some columns, from -1 on: category codes, of which frameworks make integers."""
    row = np.full((1, width), np.inf)
    row[0, list(columns)] = -1
    is_category = graph.add("Greater", matrix, graph.constant(row, dtype))
    return graph.add("Where", is_category, graph.add("Floor", graph.add("Relu", matrix)), matrix)


def _dtype(name: str, columns: Columns) -> str:
    values = columns[name]
    if values.ndim != 1:
        raise SampleError(
            f"column {name!r} of the sample has values of shape {values.shape[1:]}", fix="give single values"
        )
    return "string" if values.dtype == object else values.dtype.name


def _category_tensor(feature: Feature) -> Tensor:
    name = feature.column.name
    if name.startswith(("/", MATRIX, "prediction", "probability", "score")):
        name = f"column_{name}"
    null_text = ""
    while null_text in (feature.categories or ()):
        null_text += "?"
    dtype = "bool" if feature.column.dtype == "bool" else feature.key_dtype
    return Tensor(name, dtype, (feature.column.name,), "matrix", null_text)


def _add_codes(graph: GraphBuilder, feature: Feature, tensor: Tensor, dtype: str) -> str:
    graph.add_input(tensor.name, tensor.dtype, ["rows", 1])
    source, keys = tensor.name, feature.categories or ()
    if tensor.dtype != feature.key_dtype:
        source = graph.cast(source, feature.key_dtype)
    if not keys:
        keys = ("",) if feature.key_dtype == "string" else (0,)
    values = np.arange(len(keys), dtype=np.float64) if feature.categories else np.array([np.nan])
    codes = graph.add(
        "LabelEncoder",
        source,
        domain="ai.onnx.ml",
        keys_tensor=make_tensor(keys, feature.key_dtype),
        values_tensor=make_tensor(values, "float64"),
        default_tensor=make_tensor([np.nan], "float64"),
    )
    return codes if dtype == "float64" else graph.cast(codes, dtype)
