"""Does the exported model answer as the original did? The comparison that export and verify share.

The error of a number is relative: |got - want| / (|want| + s), with s the median of |want| over the output's
column, so that a value near zero in a column of hundreds is not held to a precision that nobody has. Labels
(text, integers, booleans) are equal or flipped; a flip is excused where the original's own two best
probabilities are closer than the tolerance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlops_kit.bundle.goldens import read_goldens
from mlops_kit.errors import MlkitError, UsageError
from mlops_kit.predictor import Predictor
from mlops_kit.schema import Array, Columns

DEFAULT_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result over some rows. `errors` has the largest error of each row, infinity where a label flipped."""

    errors: Array
    worst_output: str
    flipped_labels: int

    @property
    def largest_error(self) -> float:
        """The largest numeric error; flipped labels are counted apart."""
        finite = self.errors[np.isfinite(self.errors)]
        return float(finite.max(initial=0.0))

    @property
    def worst_row(self) -> int:
        """Index of the row with the largest error; 0 where there are no rows."""
        return int(self.errors.argmax()) if len(self.errors) else 0

    def is_within(self, tolerance: float) -> bool:
        """No flipped label, and no error beyond the tolerance."""
        return bool((self.errors <= tolerance).all())


def compare(want: Columns, got: Columns, tolerance: float) -> Comparison:
    """Compare output columns row by row."""
    rows = len(next(iter(want.values())))
    errors, flipped, worst_output, worst = np.zeros(rows), np.zeros(rows, bool), "", -1.0
    for name, values in want.items():
        if _are_numbers(values, got[name]):
            found = numeric_errors(values, got[name])
        else:
            differs = _differing_rows(values, got[name])
            differs &= ~_is_tied(want, tolerance)
            flipped |= differs
            found = np.where(differs, np.inf, 0.0)
        if rows and found.max() > worst:
            worst_output, worst = name, float(found.max())
        errors = np.maximum(errors, found)
    return Comparison(errors, worst_output, int(flipped.sum()))


def numeric_errors(want: Array, got: Array) -> Array:
    """The largest relative error of each row, shape (rows,); NaN equals NaN, an infinity its like.

    >>> numeric_errors(np.array([100.0, 0.0]), np.array([101.0, 0.0]))
    array([0.00666667, 0.        ])
    """
    want, got = _by_row(want).astype(np.float64), _by_row(got).astype(np.float64)
    if want.shape != got.shape:
        return np.full(len(want), np.inf)
    finite = np.abs(want[np.isfinite(want)])
    scale = float(np.median(finite)) if finite.size else 0.0
    scale = scale or (float(finite.max()) if finite.size else 0.0) or 1.0
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.abs(got - want) / (np.abs(want) + scale)
    errors[(want == got) | (np.isnan(want) & np.isnan(got))] = 0.0
    errors[np.isnan(errors)] = np.inf
    return np.asarray(errors.max(axis=1, initial=0.0))


def _are_numbers(want: Array, got: Array) -> bool:
    """Whether two columns are compared by size: numbers, of which one at least is no whole one."""
    kinds = want.dtype.kind + got.dtype.kind
    return "f" in kinds and set(kinds) <= set("fiu")


def _differing_rows(want: Array, got: Array) -> Array:
    if want.shape != got.shape:
        return np.ones(len(want), bool)
    return np.asarray(_by_row(np.asarray(want.astype(object) != got.astype(object), bool)).any(axis=1))


def check_tolerance(tolerance: float) -> None:
    """Raise UsageError for what is no relative error."""
    if not 0 < tolerance < 1:
        raise UsageError(
            f"a tolerance of {tolerance} makes no sense", "it is a relative error", "give 0.0001, say"
        )


def _by_row(values: Array) -> Array:
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def check_goldens(predictor: Predictor) -> Comparison:
    """Ask a loaded bundle its golden rows again, and compare with the original framework's answers."""
    bundle = predictor.bundle
    if bundle is None:
        raise MlkitError("this model has no golden rows", "it was not loaded from a bundle", "load a bundle")
    rows, answers = read_goldens(bundle.directory, bundle.manifest)
    return compare(answers, predictor.predict_columns(rows), bundle.manifest.parity.tolerance)


def find_row_block(
    predictor_of: Callable[[int], Predictor], rows: Columns, candidates: tuple[int, ...]
) -> int | None:
    """The smallest row block for which a row's answer is the same bits in batches of every size, if any."""
    count = len(next(iter(rows.values())))
    for block in candidates:
        predictor = predictor_of(block)
        whole = predictor.predict_columns(rows)
        if all(_same_bits(whole, _predict_pieces(predictor, rows, count, size)) for size in _piece_sizes(count)):
            return block
    return None


def _piece_sizes(count: int) -> list[int]:
    return [size for size in (1, 2, 3, 5, 7, 8, 13, 16, 31, 64, 100, 257) if size < count]


def _predict_pieces(predictor: Predictor, rows: Columns, count: int, size: int) -> dict[str, Array]:
    pieces = [
        predictor.predict_columns({name: values[start : start + size] for name, values in rows.items()})
        for start in range(0, count, size)
    ]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _same_bits(first: Columns, second: Columns) -> bool:
    return all(
        np.array_equal(values, second[name])
        if values.dtype == object
        else values.tobytes() == second[name].tobytes()
        for name, values in first.items()
    )


def _is_tied(want: Columns, tolerance: float) -> Array:
    """Rows whose two best probabilities, by the original, are closer than the tolerance."""
    rows = len(next(iter(want.values())))
    columns = [values for name, values in want.items() if name.startswith("probability_") and values.ndim == 1]
    if len(columns) < 2:
        return np.zeros(rows, bool)
    best = np.sort(np.stack(columns, axis=1), axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0] <= tolerance)
