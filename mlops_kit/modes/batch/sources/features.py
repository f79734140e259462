"""Rows of another source, and beside them the features as of each row's time."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from mlops_kit.errors import UsageError, listed
from mlops_kit.features.definition.compilation import keep_features
from mlops_kit.features.definition.expressions.columns import DTYPES
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.history import open_history
from mlops_kit.features.offline.spine import Asking, check_spine, read_spine
from mlops_kit.features.offline.vectors import Vectors, compute_vectors
from mlops_kit.features.offline.work import JoinReport, Resources
from mlops_kit.modes.batch.conversion import check_texts
from mlops_kit.modes.batch.sources.interface import Chunk, Source, Unit
from mlops_kit.schema import Array, Column, Signature

READ_ROWS = 65_536

Opener = Callable[[Signature, Sequence[str]], Source]
"""Opens rows that have the columns of a signature, and others to pass through."""


@dataclass(frozen=True, slots=True)
class FeatureJob:
    """The features of a bundle and what its model takes; columns to pass through, and that of time.

    `opens_once`: what is read can be read only once. `may_compute`: rows need not have all features.
    """

    features: FeatureSet
    signature: Signature
    keep: Sequence[str]
    time: str | None
    memory_bytes: int
    opens_once: bool
    may_compute: bool = True


def open_with_features(job: FeatureJob, open_rows: Opener, report: JoinReport) -> Source:
    """The rows, and those features that they do not have themselves: a column of that name is taken as it is.

    Raises what `open_rows` does; UsageError and InputError for rows and histories that cannot be joined.
    """
    names = {feature.name for feature in job.features.features}
    keep = [name for name in job.keep if name not in names]
    own = tuple(column for column in job.signature.columns if column.name not in names)
    rows = open_rows(replace(job.signature, columns=own), keep)
    missing = names.difference(rows.schema.names)
    if not job.opens_once:
        rows = open_rows(_without(missing, job), keep)
    if not missing:
        return rows
    if not job.may_compute:
        why = f"the bundle has features, and the rows lack {listed(sorted(missing))}"
        fix = "leave out --engine, or give it what mlkit features join makes of the rows"
        raise UsageError("--engine spark computes no features", why, fix)
    features = keep_features(job.features, missing)
    asking = check_spine(pl.DataFrame(pa.Table.from_batches([], rows.schema)).schema, features, job.time)
    return FeatureSource(rows, features, asking, job.memory_bytes, report)


def _without(computed: set[str], job: FeatureJob) -> Signature:
    """What has to be read for the model and for the features that are computed; typed, for files without types."""
    own = [column for column in job.signature.columns if column.name not in computed]
    features = keep_features(job.features, computed)
    keys = [source.key for source in features.events] + [table.key for table in features.tables]
    kinds = {part.name: part.kind for part in chain.from_iterable(keys)}
    for source in features.events:
        if any(feature.include_current and feature.source == source.name for feature in features.windows):
            kinds |= {field.name: field.kind for field in source.fields}
    known = {column.name for column in own}
    others = [Column(name, kind, nullable=True) for name, kind in kinds.items() if name not in known]
    return replace(job.signature, columns=(*own, *others))


@dataclass(frozen=True, slots=True)
class _Portion:
    """Vectors of some units: where those of each begin, and the numbers of their rows within the unit."""

    vectors: Vectors
    units: Mapping[str, tuple[int, Array]]


class FeatureSource:
    """See `Source`. Vectors are computed when the first of their units is read, for as many of the next ones at a
    time as memory has room for. Not for several threads.
    """

    def __init__(
        self, rows: Source, features: FeatureSet, asking: Asking, memory_bytes: int, report: JoinReport
    ) -> None:
        """`features` are those to compute. Adds to the report as they are."""
        self._rows = rows
        self._features = features
        self._asking = asking
        self._memory_bytes = memory_bytes
        self._report = report
        self._portion: _Portion | None = None
        empty = pl.DataFrame(schema={feature.name: DTYPES[feature.kind] for feature in features.features})
        self.schema = pa.schema([*rows.schema, *empty.to_arrow().schema])
        self.folder_columns = rows.folder_columns
        stamp = _stamp(features, asking)
        self.units = tuple(replace(unit, fingerprint=f"{unit.fingerprint}-{stamp}") for unit in rows.units)
        self._own = {unit.part: unit for unit in rows.units}

    def chunks(self, unit: Unit, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The unit's rows with their features. Raises UsageError and InputError for what cannot be joined."""
        portion = self._portion
        if portion is None or unit.part not in portion.units:
            self._portion = None
            self._portion = portion = self._compute(unit)
        first, numbers = portion.units[unit.part]
        names = {feature.name for feature in self._features.features}
        # Also those that were read before, so that the same rows are bad.
        read = dict.fromkeys([*(name for name in columns if name not in names), *self._asking.columns])
        for chunk in self._rows.chunks(self._own[unit.part], list(read), rows):
            places = np.searchsorted(numbers, _numbers(chunk))
            found = _taken(portion.vectors, first + places) if names.intersection(columns) else {}
            arrays = [found[name] if name in found else chunk.rows.column(name) for name in columns]
            yield replace(chunk, rows=pa.RecordBatch.from_arrays(arrays, names=list(columns)))

    def _compute(self, unit: Unit) -> _Portion:
        frames: list[pl.DataFrame] = []
        units: dict[str, tuple[int, Array]] = {}
        places = list(self._own)
        after = places[places.index(unit.part) :]
        row_bytes = 32 * len(self._features.features) + 64
        rows = 0
        for part in after:
            if units and (rows + self._own[part].rows) * row_bytes > self._memory_bytes // 2:
                break
            numbers = [np.empty(0, np.int64)]
            for chunk in self._rows.chunks(self._own[part], self._asking.columns, READ_ROWS):
                check_texts(chunk.rows)
                frames.append(pl.DataFrame(chunk.rows).with_columns(pl.selectors.categorical().cast(pl.String)))
                numbers.append(_numbers(chunk))
            units[part] = rows, np.concatenate(numbers)
            rows += len(units[part][1])
        if not frames:
            none = self._rows.schema.empty_table().select(list(self._asking.columns))
            frames.append(pl.DataFrame(none).with_columns(pl.selectors.categorical().cast(pl.String)))
        before = sum(self._own[part].rows for part in places[: places.index(unit.part)])
        spine = read_spine(pl.concat(frames), self._asking, before)
        with tempfile.TemporaryDirectory(prefix="mlkit-features-") as folder:
            resources = Resources(Path(folder), self._memory_bytes)
            return _Portion(compute_vectors(self._features, spine, resources, self._report), units)


def _numbers(chunk: Chunk) -> Array:
    return np.arange(chunk.first, chunk.first + chunk.rows.num_rows) if chunk.numbers is None else chunk.numbers


def _taken(vectors: Vectors, rows: Array) -> dict[str, pa.Array]:
    """The features of these rows, which ascend."""
    first, end = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    columns = vectors.columns(first, end)
    if end - first > len(rows):
        columns = [column.gather(rows - first) for column in columns]
    return {column.name: column.to_arrow() for column in columns}


def _stamp(features: FeatureSet, asking: Asking) -> str:
    """Changes when the files do that features are computed from."""
    places = [(source.name, source.history) for source in features.events]
    places += [(table.name, table.path) for table in features.tables]
    files = [path for name, place in places for path, _ in open_history(name, place).files]
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    names = [feature.name for feature in features.features]
    return hashlib.sha256(repr((asking.time, names, facts)).encode()).hexdigest()[:16]
