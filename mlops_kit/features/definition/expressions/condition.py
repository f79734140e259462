"""A condition that is checked, and can be asked about rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from mlops_kit.features.definition.expressions.evaluation import evaluate
from mlops_kit.features.definition.expressions.parser import Parser
from mlops_kit.features.definition.expressions.tokens import mistake
from mlops_kit.features.definition.expressions.tree import Node, columns_of, text_of
from mlops_kit.features.definition.feature_set import Kind
from mlops_kit.schema import Array

NO_OTHERS: Final[Mapping[str, object]] = {}


@dataclass(frozen=True, slots=True)
class Condition:
    """`text` is canonical: equal texts are equal conditions. `columns` are those that it looks at, sorted."""

    text: str
    columns: tuple[str, ...]
    _tree: Node = field(repr=False)

    def mask(self, frame: pl.DataFrame) -> Array:
        """Which rows meet it: bool, shape (rows,). Where it is null, a row does not.

        A row's answer is the same in every batch. Raises InputError for a column that is missing, or not of its
        kind (narrower numbers are, and so are whole numbers where it is float64).
        """
        values, is_valid = evaluate(self._tree, frame)
        return np.broadcast_to(values & is_valid, frame.height).copy()


def parse_condition(text: str, kinds: Mapping[str, Kind], others: Mapping[str, object] = NO_OTHERS) -> Condition:
    """A condition on rows with these columns; `others` are those that it cannot look at, with their dtypes.

    Raises UsageError with the place of what is wrong.

    >>> parse_condition("NOT (dep_delay<=15) AND origin=='JFK'", {"dep_delay": "float64", "origin": "string"}).text
    "not dep_delay <= 15 and origin = 'JFK'"
    """
    tree = Parser(text, kinds, others).condition()
    columns = tuple(sorted(set(columns_of(tree))))
    if not columns:
        raise mistake(text, 0, "it looks at no column, so it is the same for every event", "name a column")
    return Condition(text_of(tree), columns, tree)
