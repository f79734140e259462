"""Encoders of categories (text, or numbers compared as float64), with missing values and unseen ones."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mlops_kit.exporters.sklearn.blocks import Block, Frame, merge, split
from mlops_kit.exporters.sklearn.graph import ML, numbers_attribute, texts_attribute
from mlops_kit.exporters.sklearn.translator import Translator, numbers
from mlops_kit.schema import Array


def is_missing(value: object) -> bool:
    """None, NaN and pandas' NA."""
    return value is None or value != value or type(value).__name__ == "NAType"


def category_code(column: Block, categories: Array, t: Translator) -> str:
    """The position of every value among `categories`, or their number where it is none; shape (rows, 1)."""
    graph, output = t.graph, t.graph.unique_name("/LabelEncoder")
    node = helper.make_node("LabelEncoder", [column.tensor], [output], name=output, domain=ML)
    codes = np.arange(len(categories))
    if column.is_text:
        known = [i for i, category in enumerate(categories) if isinstance(category, str) or is_missing(category)]
        texts = [t.null_text if is_missing(categories[i]) else str(categories[i]) for i in known]
        node.attribute.append(texts_attribute("keys_strings", texts))
        node.attribute.append(numbers_attribute("values_int64s", codes[known]))
        node.attribute.append(helper.make_attribute("default_int64", len(categories)))
        graph.add_node(node)
        return output
    known = [i for i, category in enumerate(categories) if not isinstance(category, str)]
    keys = np.array([np.nan if is_missing(categories[i]) else float(categories[i]) for i in known])
    tensors = {
        "keys_tensor": keys,
        "values_tensor": codes[known],
        "default_tensor": np.array([len(categories)]),
    }
    node.input[0] = column.tensor if graph.dtype == np.float64 else graph.cast(column.tensor, "float64")
    node.attribute.extend(_tensor_attribute(name, values) for name, values in tensors.items())
    graph.add_node(node)
    return output


def _tensor_attribute(name: str, values: Array) -> onnx.AttributeProto:
    return helper.make_attribute(name, numpy_helper.from_array(values, name))


def look_up(code: str, rows: Array, unknown: Array | None, t: Translator) -> str:
    """The row of a table for every code; with no row for unknown values the runtime refuses them."""
    table = rows if unknown is None else np.concatenate([rows, unknown.reshape(1, -1)])
    flat = t.graph.add("Reshape", code, np.array([-1], np.int64))
    return t.graph.add("Gather", table, flat, axis=0)


def one_hot(code: str, positions: Array, width: int, t: Translator) -> str:
    """A one in the column that `positions` has for the code, none where that is `width`; (rows, width)."""
    flat = t.graph.add("Reshape", t.graph.add("Gather", positions, code), np.array([-1], np.int64))
    # The runtime has no float64 kernel for OneHot.
    hot = t.graph.add("OneHot", flat, np.array([width], np.int64), np.array([0, 1], np.int64), axis=-1)
    return t.graph.cast(hot)


def encode_one_hot(model: Any, frame: Frame, t: Translator) -> Frame:
    """OneHotEncoder, with dropped, infrequent and unknown categories."""
    made: list[Block] = []
    for index, column in enumerate(split(frame, t.graph)):
        positions, width = one_hot_positions(model, index)
        if width:
            code = category_code(column, model.categories_[index], t)
            made.append(Block(one_hot(code, positions, width, t), width))
    return merge(tuple(made), t.graph)


def one_hot_positions(model: Any, index: int) -> tuple[Array, int]:
    """The output column of every category of one feature, `width` for none; and `width` itself.

    The last entry is for unknown values, unless the encoder refuses them.
    """
    categories = model.categories_[index]
    infrequent = model.infrequent_categories_[index] if hasattr(model, "infrequent_categories_") else None
    rare = np.isin(np.arange(len(categories)), _indices_of(infrequent, categories))
    width = int((~rare).sum()) + bool(rare.any())
    positions = np.where(rare, width - 1, np.cumsum(~rare) - 1)
    if model.handle_unknown != "error":
        joins_rare = model.handle_unknown in ("infrequent_if_exist", "warn") and rare.any()
        positions = np.append(positions, width - 1 if joins_rare else -1)
    dropped = None if model.drop_idx_ is None else model.drop_idx_[index]
    if dropped is not None:
        gone, width = positions[dropped], width - 1
        positions = np.where(positions == gone, -1, positions - (positions > gone))
    return np.where(positions == -1, width, positions).astype(np.int64), width


def _indices_of(chosen: Array | None, categories: Array) -> list[int]:
    wanted = [] if chosen is None else list(chosen)
    return [
        i
        for i, category in enumerate(categories)
        if any(category == other or (is_missing(category) and is_missing(other)) for other in wanted)
    ]


def encode_by_table(model: Any, frame: Frame, t: Translator) -> Frame:
    """OrdinalEncoder and TargetEncoder: the encoder itself says what it makes of every category."""
    made: list[Block] = []
    for index, column in enumerate(split(frame, t.graph)):
        rows, unknown = encoded_categories(model, index)
        code = category_code(column, model.categories_[index], t)
        made.append(Block(look_up(code, rows, unknown, t), rows.shape[1]))
    return merge(tuple(made), t.graph)


def encoded_categories(model: Any, index: int) -> tuple[Array, Array | None]:
    """What one feature's categories become, and what an unknown value becomes (None if it is refused)."""
    categories = model.categories_[index]
    per_feature = _plain_transform(model, _row_of_firsts(model)).shape[1] // len(model.categories_)
    columns = slice(index * per_feature, (index + 1) * per_feature)
    rows = np.repeat(_row_of_firsts(model), len(categories), axis=0)
    rows[:, index] = categories
    table = _plain_transform(model, rows)[:, columns].astype(float)
    if getattr(model, "handle_unknown", "") == "error":
        return table, None
    rows = _row_of_firsts(model)
    rows[0, index] = _unseen(categories)
    return table, _plain_transform(model, rows)[:, columns].astype(float)


def _row_of_firsts(model: Any) -> Array:
    row = np.empty((1, len(model.categories_)), object)
    row[0] = [categories[0] for categories in model.categories_]
    return row


def _unseen(categories: Array) -> object:
    present = [category for category in categories if not is_missing(category)]
    if any(isinstance(category, str) for category in present):
        return "".join(str(category) for category in present) + "?"
    return float(max((float(category) for category in present), default=0.0)) + 1.0


def _plain_transform(model: Any, rows: Array) -> Array:
    """Transform columns of any type, ignoring the names and the output container that were set."""
    import pandas as pd
    from sklearn import config_context

    names = getattr(model, "feature_names_in_", range(rows.shape[1]))
    kinds = [categories.dtype for categories in model.categories_]
    frame = pd.DataFrame(
        {
            name: pd.Series(rows[:, i], dtype=object if kinds[i].kind in "OUT" else kinds[i])
            for i, name in enumerate(names)
        }
    )
    with config_context(transform_output="default"):
        made = model.transform(frame)
    return np.asarray(made)


def mark_missing(model: Any, frame: Frame, t: Translator) -> Frame:
    """MissingIndicator: which values are missing, for the features that it watches."""
    made = [missing_mask(column, model.missing_values, t) for column in split(frame, t.graph)]
    mask = t.graph.cast(t.graph.add("Concat", *(made[i] for i in model.features_), axis=1))
    return numbers(mask, len(model.features_))


def missing_mask(column: Block, marker: Any, t: Translator) -> str:
    """Where a block holds the value that means "missing"; boolean, of the same shape."""
    if column.is_text:
        text = t.null_text if is_missing(marker) else str(marker)
        return t.graph.add("Equal", column.tensor, np.array([text], object))
    if is_missing(marker):
        return t.graph.add("IsNaN", column.tensor)
    return t.graph.add("Equal", column.tensor, np.array([float(marker)]))


def impute_simply(model: Any, frame: Frame, t: Translator) -> Frame:
    """SimpleImputer: missing values replaced, columns dropped that never had a value, indicators appended."""
    made: list[Block] = []
    start = 0
    for block in merge(frame, t.graph):
        fills = np.asarray(model.statistics_[start : start + block.width])
        start += block.width
        made.extend(_imputed(block, fills, model, t))
    if model.indicator_ is not None and len(model.indicator_.features_):
        made.extend(mark_missing(model.indicator_, frame, t))
    return merge(tuple(made), t.graph)


def _imputed(block: Block, fills: Array, model: Any, t: Translator) -> Frame:
    kept = np.array([not is_missing(fill) for fill in fills])
    if not kept.all():
        tensor = t.graph.add("Gather", block.tensor, np.flatnonzero(kept), axis=1)
        block, fills = Block(tensor, int(kept.sum()), block.is_text), fills[kept]
    if not block.width:
        return ()
    values = fills.astype(object if block.is_text else float).reshape(1, -1)
    tensor = t.graph.add("Where", missing_mask(block, model.missing_values, t), values, block.tensor)
    return (Block(tensor, block.width, block.is_text),)


TRANSFORMERS: Mapping[str, Callable[[Any, Frame, Translator], Frame]] = {
    "MissingIndicator": mark_missing,
    "OneHotEncoder": encode_one_hot,
    "OrdinalEncoder": encode_by_table,
    "SimpleImputer": impute_simply,
    "TargetEncoder": encode_by_table,
}
