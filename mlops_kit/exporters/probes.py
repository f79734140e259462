"""Rows that export makes up beside the sample, to find where the converted model and the original part.

Missing values column by column, an unseen category, zeros, and values beyond the sample's range.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_kit.frames import join_rows, select_rows
from mlops_kit.schema import FLOATS, INTEGERS, Array, Column, Columns

UNSEEN = "mlkit: unseen category"
MOST_SAMPLE_ROWS = 2000
INVENTED_ROWS = 64
MOST_ASKED_ONE_BY_ONE = 64


@dataclass(frozen=True, slots=True)
class Probe:
    """What was changed in a copy of the sample's first row: `column`, in the way that `kind` says."""

    column: str
    kind: str


@dataclass(frozen=True, slots=True)
class Probes:
    """Made-up rows: row i of `rows` is what `probes[i]` describes."""

    probes: tuple[Probe, ...]
    rows: Columns

    def select(self, indices: Sequence[int]) -> "Probes":
        """Only some of them."""
        chosen = np.array(indices, int)
        return Probes(tuple(self.probes[index] for index in indices), select_rows(self.rows, chosen))


@dataclass(frozen=True, slots=True)
class Answered:
    """The probes that the original framework takes, with its answers; and those that it refuses."""

    accepted: Probes
    answers: Columns
    refused: Probes


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


def make_probes(columns: tuple[Column, ...], sample: Columns) -> Probes:
    """Every probe that makes sense for the columns' dtypes. The sample has at least one row."""
    made = [(c.name, kind, value) for c in columns for kind, value in _values(c, sample[c.name])]
    rows = {}
    for column in columns:
        base = sample[column.name][:1]
        rows[column.name] = np.repeat(base if column.shape else base.astype(_dtype(column)), len(made), axis=0)
    for index, (name, _, value) in enumerate(made):
        rows[name][index] = value
    return Probes(tuple(Probe(name, kind) for name, kind, _ in made), rows)


def ask(reference: Callable[[Columns], Columns], probes: Probes) -> Answered:
    """Ask the original framework, halving the batch where it refuses, until every culprit is found."""
    accepted: list[int] = []
    answers: list[Columns] = []
    refused: list[int] = []
    missing = [index for index, probe in enumerate(probes.probes) if probe.kind == "missing"]
    others = [index for index, probe in enumerate(probes.probes) if probe.kind != "missing"]
    if _refuses_all(reference, probes, missing):
        refused, missing = missing, []
    waiting = [batch for batch in (missing, others) if batch]
    while waiting:
        batch = waiting.pop()
        answer = _answer(reference, probes.select(batch).rows)
        if answer is not None:
            accepted += batch
            answers.append(answer)
        elif len(batch) == 1:
            refused += batch
        else:
            middle = len(batch) // 2
            waiting += [batch[middle:], batch[:middle]]
    found = join_rows([dict(answer) for answer in answers]) if answers else {}
    return Answered(probes.select(accepted), found, probes.select(refused))


def _refuses_all(reference: Callable[[Columns], Columns], probes: Probes, missing: list[int]) -> bool:
    """Whether a wide model may be taken to refuse every missing value, because it does in some columns spread
    over all of them. To ask about each of thousands takes minutes, and to refuse too much does no harm.
    """
    if len(missing) <= MOST_ASKED_ONE_BY_ONE:
        return False
    spread = missing[:: len(missing) // (MOST_ASKED_ONE_BY_ONE // 4)]
    return all(_answer(reference, probes.select([index]).rows) is None for index in spread)


def _answer(reference: Callable[[Columns], Columns], rows: Columns) -> Columns | None:
    try:
        return reference(rows)
    except Exception:  # noqa: BLE001 - a framework may refuse a row with any exception
        return None


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
