"""One model as its readers see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlops_kit.modes.online.golden_row import GoldenRow
from mlops_kit.schema import Column, Output, Signature


@dataclass(frozen=True, slots=True)
class ModelView:
    """A loaded model. `refusal` says why the last bundle was refused that should have replaced it. A request may
    leave out `optional` columns.
    """

    name: str
    version: str
    digest: str
    loaded_at: float
    refusal: str
    signature: Signature
    golden: GoldenRow
    optional: frozenset[str] = frozenset()

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
            "optional_inputs": _describe([c for c in self.signature.columns if c.name in self.optional]),
            "outputs": _describe(self.signature.outputs),
            "example": dict(self.golden.row),
        }


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
