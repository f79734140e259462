"""Logged vectors against those that history gives: the same bits, or where they differ."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from mlops_kit.errors import InputError
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.offline.spine import check_spine, read_spine
from mlops_kit.features.offline.vectors import compute_vectors
from mlops_kit.features.offline.work import JoinReport, Resources
from mlops_kit.features.parity.log import (
    APPLIED,
    AS_OF,
    ASKED,
    COLUMNS,
    DEFINITION,
    DEGRADED,
    OVERRIDDEN,
    VECTOR,
    asked_columns,
    digest_of_features,
)
from mlops_kit.schema import Array

TIME: Final = "\0as_of"
LIMIT: Final = "\0applied "
"""Names that no column has whose name people write."""


@dataclass(frozen=True, slots=True)
class FeatureParity:
    """How the values of a feature compare: `mismatch`: both have one, and they differ; `missing`: only history
    has one; `extra`: only the log.
    """

    name: str
    compared: int
    mismatch: int
    missing: int
    extra: int

    @property
    def is_same(self) -> bool:
        """Whether every value is."""
        return not (self.mismatch or self.missing or self.extra)


def read_log(folder: Path, features: FeatureSet) -> tuple[pl.DataFrame, int]:
    """The logged vectors of a definition, by time, and how many rows are of others. Raises InputError if there are
    no vectors at all.
    """
    files = sorted(file for file in folder.rglob("*.parquet") if not _is_hidden(file.relative_to(folder)))
    if not files:
        fix = "name the folder that --log-predictions did"
        raise InputError(f"{folder}: there is no log", "it has no Parquet file", fix)
    digest, others = digest_of_features(features), 0
    frames = [frame for file in files if (frame := _read_file(file)) is not None]
    if not frames:
        raise InputError(f"{folder}: no vector is logged there", "the model that was served has no features")
    mine = [frame.filter(pl.col(DEFINITION) == digest) for frame in frames]
    others = sum(map(len, frames)) - sum(map(len, mine))
    mine = [frame for frame in mine if len(frame)]
    return pl.concat(mine, how="diagonal_relaxed").sort(AS_OF) if mine else pl.DataFrame(), others


def check_parity(
    features: FeatureSet, log: pl.DataFrame, report: JoinReport
) -> tuple[tuple[FeatureParity, ...], dict[str, Any] | None]:
    """Compute each logged vector anew from history, with the events that it saw, and compare; and the first row
    that differs, if there is one, in full. Adds to the report. Raises what `join` raises.
    """
    if log.is_empty():
        return (), None
    expected, vectors = _recomputed(features, log, report), log[VECTOR].struct.unnest()
    found, first = [], len(log)
    for feature in features.features:
        is_meant = ~(_has(log[OVERRIDDEN], feature.name) | _has(log[DEGRADED], feature.source))
        masks = [is_meant & mask for mask in _compare(vectors[feature.name], expected[feature.name])]
        found.append(FeatureParity(feature.name, int(is_meant.sum()), *(int(mask.sum()) for mask in masks)))
        wrong = np.flatnonzero(np.logical_or.reduce(masks))
        first = min(first, int(wrong[0])) if wrong.size else first
    return tuple(found), _row(log, expected, first) if first < len(log) else None


def _read_file(file: Path) -> pl.DataFrame | None:
    try:
        names = set(pl.read_parquet_schema(file))
        if not set(COLUMNS) <= names:
            return None
        wanted: list[str] = [name for name in ("id", "row", *COLUMNS) if name in names]
        return pl.read_parquet(file, columns=wanted)
    except (pl.exceptions.PolarsError, OSError) as error:
        why = str(error).partition("\n")[0]
        raise InputError(f"{file}: cannot be read", why, "leave the file out") from error


def _recomputed(features: FeatureSet, log: pl.DataFrame, report: JoinReport) -> pl.DataFrame:
    columns = [log[AS_OF].alias(TIME)]
    columns += [log[ASKED].struct.field(name) for name in asked_columns(features)]
    limits = {source.name: LIMIT + source.name for source in features.events}
    columns += [log[APPLIED].struct.field(name).alias(column) for name, column in limits.items()]
    rows = pl.DataFrame(columns)
    spine = read_spine(rows, check_spine(rows.schema, features, TIME, limits))
    with tempfile.TemporaryDirectory(prefix="mlkit-check-") as folder:
        return pl.DataFrame(compute_vectors(features, spine, Resources(Path(folder)), report).columns())


def _compare(logged: pl.Series, computed: pl.Series) -> tuple[Array, Array, Array]:
    """Where both have a value and the bits differ; where only `computed` has one; where only `logged` has one."""
    is_logged, is_computed = logged.is_not_null().to_numpy(), computed.is_not_null().to_numpy()
    if logged.dtype == computed.dtype == pl.Float64:
        bits = [series.fill_null(0.0).to_numpy().view(np.int64) for series in (logged, computed)]
        differs = bits[0] != bits[1]
    elif logged.dtype == computed.dtype:
        differs = (logged != computed).fill_null(False).to_numpy()
    else:
        differs = np.ones(len(logged), bool)
    return is_logged & is_computed & differs, is_computed & ~is_logged, is_logged & ~is_computed


def _has(lists: pl.Series, name: str) -> Array:
    return lists.list.contains(name).fill_null(False).to_numpy()


def _row(log: pl.DataFrame, expected: pl.DataFrame, row: int) -> dict[str, Any]:
    logged = log.row(row, named=True)
    names = list(logged[VECTOR])
    return {**logged, "recomputed": {name: expected[name][row] for name in names}}


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)
