"""What a request for a model with features brings: keys, its own columns, and features that it knows better."""

from collections.abc import Mapping
from typing import Final

from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.parity.log import asked_columns
from mlops_kit.modes.online.golden_row import GoldenRow
from mlops_kit.schema import Column, Signature

EMPTY: Final = {"string": "", "bool": False, "int64": 0, "float64": 0.0}
"""What stands for a value in an example where the bundle has none."""


class RequestColumns:
    """`signature`: keys and the columns of the event that a row is, the model's columns that are no features, then
    the features, which are `optional`. `needed`: those that a request must have.
    """

    def __init__(self, features: FeatureSet, model: Signature) -> None:
        self.definition = features
        self.features = tuple(feature.name for feature in features.features)
        self.optional = frozenset(self.features)
        by_name = {column.name: column for column in model.columns}
        self.asked = asked_columns(features)
        first = [
            Column(name, kind, nullable=name not in by_name or by_name[name].nullable)
            for name, kind in self.asked.items()
            if name not in self.optional
        ]
        own = [c for c in model.columns if c.name not in self.optional and c.name not in self.asked]
        optional = [column for column in model.columns if column.name in self.optional]
        self.signature = Signature((*first, *own, *optional), model.tensors, model.outputs)
        self.needed = tuple(column.name for column in (*first, *own))
        self.shaped = frozenset(column.name for column in own if column.shape)

    def example(self, golden: GoldenRow) -> GoldenRow:
        """The golden row as a request: without the features, and with an empty key where the model takes none."""
        row: Mapping[str, object] = golden.row
        columns = {column.name: column for column in self.signature.columns}
        found = {name: row.get(name, EMPTY.get(columns[name].dtype)) for name in self.needed}
        return GoldenRow(found, golden.answer)
