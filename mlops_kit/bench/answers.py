"""Do all modes give the same answers? Bit for bit: a mode that rounds differently is another model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlops_kit.bench.results import Parity
from mlops_kit.schema import Array, Columns, Output


def read_records(records: Sequence[Mapping[str, Any]], outputs: Sequence[Output]) -> dict[str, Array]:
    """Output columns from records as JSON has them, where null is a number that JSON cannot express."""
    columns = {}
    for output in outputs:
        values = [record[output.name] for record in records]
        if output.dtype == "string":
            columns[output.name] = np.array(values, object)
        elif output.dtype.startswith("float"):
            # NumPy reads None as NaN, also within lists.
            columns[output.name] = np.array(values, np.float64).astype(output.dtype)
        else:
            columns[output.name] = np.array(values, output.dtype)
    return columns


def compare_answers(reference: Columns, modes: Mapping[str, Columns]) -> Parity:
    """`reference` is what the model answers when it is asked directly, for all rows at once."""
    rows = len(next(iter(reference.values())))
    mismatches, first = {}, ""
    for mode, answers in modes.items():
        differs = np.zeros(rows, bool)
        for name, want in reference.items():
            differs |= differing_rows(want, answers.get(name))
        mismatches[mode] = int(differs.sum())
        if differs.any() and not first:
            first = _describe(mode, int(differs.argmax()), reference, answers)
    return Parity(rows, tuple(modes), mismatches, first)


def differing_rows(want: Array, got: Array | None) -> Array:
    """Where two columns are not the same bits. Any NaN is the same as any other; and where `got` is NaN, `want`
    may also be infinite, which JSON cannot express.
    """
    if got is None or got.shape != want.shape or got.dtype != want.dtype:
        return np.ones(len(want), bool)
    if want.dtype == object:
        return _by_row(np.not_equal(want, got))
    bits = np.ascontiguousarray(want).view(np.uint8) != np.ascontiguousarray(got).view(np.uint8)
    differs = bits.reshape(*want.shape, want.itemsize).any(-1)
    if want.dtype.kind == "f":
        differs &= np.isfinite(want) | ~np.isnan(got)
    return _by_row(differs)


def _by_row(differs: Array) -> Array:
    return np.asarray(differs.reshape(len(differs), -1).any(1))


def _describe(mode: str, row: int, reference: Columns, answers: Columns) -> str:
    parts = [
        f"{name} is {answers[name][row]!r} instead of {want[row]!r}"
        if name in answers and row < len(answers[name])
        else f"{name} is missing"
        for name, want in reference.items()
        if name not in answers or row >= len(answers[name]) or _is_told(want, answers[name], row)
    ]
    return f"row {row} of {mode}: {', '.join(parts)}"


def _is_told(want: Array, got: Array, row: int) -> bool:
    return len(got) != len(want) or bool(differing_rows(want, got)[row])
