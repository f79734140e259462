"""One model as its readers see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlops_kit.features.definition.feature_set import EventSource, FeatureSet
from mlops_kit.modes.online.golden_row import GoldenRow
from mlops_kit.schema import Column, Output, Signature


@dataclass(frozen=True, slots=True)
class ModelView:
    """A loaded model. `refusal` says why the last bundle was refused that should have replaced it. A request may
    leave out `optional` columns, which are then made of `features`.
    """

    name: str
    version: str
    digest: str
    loaded_at: float
    refusal: str
    signature: Signature
    golden: GoldenRow
    optional: frozenset[str] = frozenset()
    features: FeatureSet | None = None

    @property
    def events(self) -> Sequence[EventSource]:
        """The sources that clients may send events of."""
        if self.features is None:
            return ()
        windows = {window.source for window in self.features.windows}
        return [source for source in self.features.events if source.name in windows]

    def to_json(self) -> dict[str, Any]:
        """What /models says of it."""
        return {
            "name": self.name,
            "is_ready": True,
            "refusal": self.refusal,
            "version": self.version,
            "digest": self.digest,
            "loaded_at": datetime.fromtimestamp(self.loaded_at, UTC).isoformat(timespec="seconds"),
            "inputs": _describe([column for column in self.signature.columns if column.name not in self.optional]),
            "optional_inputs": [
                {**of_column, "source": self._sources.get(of_column["name"], "")}
                for of_column in _describe([c for c in self.signature.columns if c.name in self.optional])
            ],
            "keys": [*self._keys],
            "outputs": _describe(self.signature.outputs),
            "example": dict(self.golden.row),
        }

    @property
    def _sources(self) -> Mapping[str, str]:
        """Where each feature is taken from."""
        return {feature.name: feature.source for feature in self.features.features} if self.features else {}

    @property
    def _keys(self) -> Mapping[str, None]:
        """The names of keys, by which features are looked up."""
        if self.features is None:
            return {}
        keys = [source.key for source in self.features.events] + [table.key for table in self.features.tables]
        return dict.fromkeys(part.name for key in keys for part in key)


def _describe(parts: Sequence[Column] | Sequence[Output]) -> list[dict[str, Any]]:
    return [
        {
            "name": part.name,
            "dtype": part.dtype,
            "shape": list(part.shape),
            "is_nullable": isinstance(part, Column) and part.nullable,
        }
        for part in parts
    ]
