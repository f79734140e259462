"""Rows that export makes up beside the sample, to find where the converted model and the original part.

Missing values column by column, an unseen category, zeros, and values beyond the sample's range.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_kit.frames import join_rows, select_rows
from mlops_kit.schema import FLOATS, INTEGERS, Array, Column, Columns

UNSEEN = "mlkit: unseen category"
MOST_SAMPLE_ROWS = 2000
INVENTED_ROWS = 64


@dataclass(frozen=True, slots=True)
class Probe:
    """One made-up row: the first row of the sample with `column` changed in the way that `kind` says."""

    column: str
    kind: str
    row: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Answered:
    """Probes that the original framework takes, in order, with its answers; and those that it refuses."""

    probes: tuple[Probe, ...]
    answers: dict[str, Array]
    refused: tuple[Probe, ...]


def choose_sample_rows(columns: Columns, most: int = MOST_SAMPLE_ROWS) -> Array:
    """Indices of up to `most` rows evenly spread, and of each column's extremes and first missing value."""
    count = len(next(iter(columns.values())))
    if count <= most:
        return np.arange(count)
    chosen = set(np.linspace(0, count - 1, most).astype(int).tolist())
    for values in columns.values():
        chosen |= set(_remarkable_rows(values))
    return np.array(sorted(chosen))


def invented_rows(columns: tuple[Column, ...]) -> dict[str, Array]:
    """Rows for a model that came without a sample. Seeded, so that the same model gives the same bundle."""
    random = np.random.default_rng(0)
    return {column.name: _invented(column, INVENTED_ROWS, random) for column in columns}


def make_probes(columns: tuple[Column, ...], sample: Columns) -> list[Probe]:
    """Every probe that makes sense for the columns' dtypes. The sample has at least one row."""
    base = select_rows(sample, slice(0, 1))
    probes = []
    for column in columns:
        for kind, value in _values(column, sample[column.name]):
            probes.append(Probe(column.name, kind, {**base, column.name: np.array([value], _dtype(column))}))
    return probes


def ask(reference: Callable[[Columns], Columns], probes: list[Probe]) -> Answered:
    """Ask the original framework, halving the batch where it refuses, until every culprit is found."""
    accepted: list[tuple[Probe, Columns]] = []
    refused: list[Probe] = []
    waiting = [probes] if probes else []
    while waiting:
        batch = waiting.pop()
        try:
            answers = reference(join_rows([probe.row for probe in batch]))
        except Exception:  # noqa: BLE001 - a framework may refuse a row with any exception
            if len(batch) == 1:
                refused.append(batch[0])
            else:
                middle = len(batch) // 2
                waiting += [batch[middle:], batch[:middle]]
            continue
        accepted += [(probe, select_rows(answers, slice(i, i + 1))) for i, probe in enumerate(batch)]
    found = tuple(probe for probe, _ in accepted)
    return Answered(found, join_rows([dict(a) for _, a in accepted]) if accepted else {}, tuple(refused))


def _dtype(column: Column) -> str:
    """Wide enough for what is made up: a sample may have whole numbers where the model takes any."""
    if column.dtype == "string":
        return "object"
    return "float64" if column.dtype in FLOATS else column.dtype


def _remarkable_rows(values: Array) -> Iterator[int]:
    if values.dtype == object:
        yield from [index for index, value in enumerate(values) if value is None][:1]
    elif values.ndim == 1 and values.dtype.kind in "fiu":
        missing = np.isnan(values)
        yield from np.flatnonzero(missing)[:1].tolist()
        if not missing.all():
            yield from (int(np.nanargmin(values)), int(np.nanargmax(values)))


def _values(column: Column, sample: Array) -> Iterator[tuple[str, Any]]:
    if column.shape:
        return
    if column.dtype == "string":
        yield "unseen", UNSEEN
        if column.nullable:
            yield "missing", None
    elif column.dtype in FLOATS:
        yield from _extremes(sample)
        if column.nullable:
            yield "missing", np.nan
    elif column.dtype in INTEGERS:
        limits = np.iinfo(column.dtype)
        yield from ((k, min(max(v, limits.min), limits.max)) for k, v in _extremes(sample))


def _extremes(sample: Array) -> Iterator[tuple[str, Any]]:
    """Zero, and a span beyond the smallest and the largest value."""
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        return
    convert = float if sample.dtype.kind == "f" else int
    low, high = convert(finite.min()), convert(finite.max())
    yield from (("zero", 0), ("below", low - (high - low)), ("above", high + (high - low)))


def _invented(column: Column, count: int, random: np.random.Generator) -> Array:
    shape = (count, *(size or 1 for size in column.shape))
    if column.dtype == "string":
        return np.full(shape, "a", object)
    if column.dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if column.dtype in FLOATS:
        return random.standard_normal(shape).astype(column.dtype)
    return random.integers(0, 10, shape).astype(column.dtype)
