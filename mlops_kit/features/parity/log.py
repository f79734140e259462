"""What is logged of the vectors of a request, so that they can be computed once more: columns beside its id and
row.

- `as_of`: T, for which the vector was computed.
- `definition`: the digest of the features, because a log may have those of several.
- `asked`: a struct of the row's own columns that the features need: keys, and those of the event that it is
  itself.
- `vector`: a struct of the features as the model got them.
- `applied`: a struct of the sequence number up to which each source's events were in the key's state, -1 for none.
- `overridden`: the features that the request brought itself.
- `degraded`: the sources that the store could not be asked for, whose features have defaults.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from mlops_kit.features.definition.feature_set import FeatureSet, Kind
from mlops_kit.features.definition.frozen import freeze
from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.past import columns_in_use
from mlops_kit.schema import Array

AS_OF: Final = "as_of"
DEFINITION: Final = "definition"
ASKED: Final = "asked"
VECTOR: Final = "vector"
APPLIED: Final = "applied"
OVERRIDDEN: Final = "overridden"
DEGRADED: Final = "degraded"
COLUMNS: Final = (AS_OF, DEFINITION, ASKED, VECTOR, APPLIED, OVERRIDDEN, DEGRADED)

_DTYPES: Final[Mapping[Kind, Any]] = {
    "float64": pl.Float64,
    "int64": pl.Int64,
    "bool": pl.Boolean,
    "string": pl.String,
}


@dataclass(frozen=True, slots=True)
class UsedVectors:
    """The vectors of one request: `columns` and `values` may have more than is logged; `applied` lacks sources
    that could not be asked.
    """

    ts: Array
    columns: Mapping[str, Array]
    values: Mapping[str, Array]
    applied: Mapping[str, Array]
    overridden: Sequence[str] = ()
    degraded: Sequence[str] = ()


class VectorLog:
    """Makes the columns for one definition, of many requests at once."""

    def __init__(self, features: FeatureSet) -> None:
        self.digest = digest_of_features(features)
        self._asked = asked_columns(features)
        self._vector: dict[str, Kind] = {feature.name: feature.kind for feature in features.features}
        self._sources = [source.name for source in features.events]

    def frame(self, requests: Sequence[UsedVectors]) -> pl.DataFrame:
        """A row for each row of the requests, in their order."""
        rows = [len(one.ts) for one in requests]
        repeated = np.repeat(np.arange(len(requests)), rows)
        per_request = pl.DataFrame(
            {OVERRIDDEN: [[*one.overridden] for one in requests], DEGRADED: [[*one.degraded] for one in requests]},
            schema={OVERRIDDEN: pl.List(pl.String), DEGRADED: pl.List(pl.String)},
        )[repeated]
        times = pl.Series(AS_OF, np.concatenate([one.ts for one in requests])).cast(pl.Datetime("us", "UTC"))
        asked = [self._series(name, kind, [one.columns for one in requests]) for name, kind in self._asked.items()]
        vector = [
            self._series(name, kind, [one.values for one in requests]) for name, kind in self._vector.items()
        ]
        applied = [
            pl.Series(
                name,
                np.concatenate(
                    [one.applied.get(name, np.full(n, -1)) for one, n in zip(requests, rows, strict=True)]
                ),
                pl.Int64,
            )
            for name in self._sources
        ]
        return pl.DataFrame(
            [
                times,
                pl.repeat(self.digest, len(times), dtype=pl.String, eager=True).alias(DEFINITION),
                _struct(ASKED, asked, len(times)),
                _struct(VECTOR, vector, len(times)),
                _struct(APPLIED, applied, len(times)),
                *per_request,
            ]
        )

    @staticmethod
    def _series(name: str, kind: Kind, requests: Iterable[Mapping[str, Array]]) -> pl.Series:
        values = [value for one in requests for value in one[name].tolist()]
        series = pl.Series(name, values, dtype=_DTYPES[kind], strict=False)
        return series.fill_nan(None) if kind == "float64" else series


def digest_of_features(features: FeatureSet) -> str:
    """Names a definition: 16 hexadecimal digits."""
    return hashlib.sha256(freeze(features)).hexdigest()[:16]


def asked_columns(features: FeatureSet) -> dict[str, Kind]:
    """The columns of a row that its features depend on: keys, and those of the event that it is itself."""
    found: dict[str, Kind] = {}
    for source in features.events:
        found |= {field.name: field.kind for field in source.key}
        layout = compile_layout(source, features.windows)
        if layout.has_current:
            kinds = {field.name: field.kind for field in source.fields}
            found |= {name: kinds[name] for name in columns_in_use(source, layout) if name in kinds}
    for table in features.tables:
        found |= {field.name: field.kind for field in table.key}
    return found


def _struct(name: str, columns: Sequence[pl.Series], rows: int) -> pl.Series:
    """Parquet has no structs without fields."""
    columns = columns or [pl.repeat(None, rows, dtype=pl.Int64, eager=True).alias("")]
    return pl.DataFrame(columns).to_struct(name)
