"""Try the ONNX forms of a model until one answers as the original does."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from mlops_kit.bundle.graph import FILE_NAME as MODEL_FILE
from mlops_kit.bundle.manifest import Parity
from mlops_kit.bundle.weights import split_weights
from mlops_kit.errors import BundleError, ConversionError, MlkitError, ParityError
from mlops_kit.exporters.explain import refusal_notes, words_of
from mlops_kit.exporters.interface import Conversion, SourceModel
from mlops_kit.exporters.reference import Reference, has_missing
from mlops_kit.frames import select_rows
from mlops_kit.parity import Comparison, compare, find_row_block
from mlops_kit.predictor import Predictor
from mlops_kit.runtimes.onnx_runtime import OnnxRuntime
from mlops_kit.schema import Array, Column, Columns, Signature

ROW_BLOCKS = (1, 2, 4, 8, 16)
MOST_GOLDENS = 32
"""Of the sample's rows and of the probes, each."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A conversion that passed, and what was measured on it."""

    conversion: Conversion
    parity: Parity
    row_block: int
    golden_rows: Columns
    golden_answers: Columns


def choose_conversion(source: SourceModel, reference: Reference, tolerance: float) -> Trial:
    """The first conversion that loads and is within the tolerance. Raises ParityError or ConversionError."""
    failures: list[MlkitError] = []
    for conversion in source.conversions():
        try:
            return _try(conversion, reference, tolerance)
        except (ParityError, BundleError, ConversionError) as error:
            failures.append(error)
    parity_failures = [error for error in failures if isinstance(error, ParityError)]
    if parity_failures:
        raise parity_failures[0]
    if failures:
        raise ConversionError(f"the {source.framework} model was converted, but does not load", failures[0].why)
    raise ConversionError(f"no ONNX form for {source.description}", "the converter gave none")


def _try(conversion: Conversion, reference: Reference, tolerance: float) -> Trial:
    runtime = _load(conversion.graph)
    comparison = _compare(conversion, runtime, reference, tolerance)
    wrong_nulls = _wrongly_answered_nulls(reference, comparison, tolerance)
    if wrong_nulls:
        reference = reference.without_nulls_in(wrong_nulls)
        comparison = _compare(conversion, runtime, reference, tolerance)
    signature = _with_nullability(conversion.signature, reference.columns)
    predictor = Predictor(signature, runtime)
    if not comparison.is_within(tolerance):
        raise _parity_error(predictor, reference, comparison, tolerance)
    block = find_row_block(lambda size: Predictor(signature, runtime, size), _repeated(reference.rows), ROW_BLOCKS)
    return Trial(
        replace(conversion, signature=signature),
        Parity(
            rows=len(comparison.errors),
            sample_rows=reference.sample_rows,
            tolerance=tolerance,
            largest_error=comparison.largest_error,
            worst_output=comparison.worst_output,
            worst_row=comparison.worst_row,
            flipped_labels=comparison.flipped_labels,
            notes=(*_notes(wrong_nulls, block), *refusal_notes(reference.refused, predictor)),
        ),
        block or 1,
        *_goldens(reference),
    )


def _compare(conversion: Conversion, runtime: OnnxRuntime, reference: Reference, tolerance: float) -> Comparison:
    predictor = Predictor(_with_nullability(conversion.signature, reference.columns), runtime)
    try:
        _check_small_batches(predictor, reference)
        return compare(reference.answers, predictor.predict_columns(reference.rows), tolerance)
    except MlkitError as error:
        raise ConversionError(f"the converted model ({conversion.variant}) does not run", str(error)) from error


def _notes(wrong_nulls: set[str], row_block: int | None) -> Iterator[str]:
    for name in sorted(wrong_nulls):
        yield f"missing values in {name!r} are refused: ONNX treats them differently"
    if row_block is None:
        yield "a row's answer depends, in its last bits, on the batch it comes in"


def _load(graph: onnx.ModelProto) -> OnnxRuntime:
    """Load as a bundle is loaded, because one protocol buffer holds no more than 2 GiB. The weights stay mapped
    when their file is gone.
    """
    with tempfile.TemporaryDirectory(prefix="mlkit-") as directory:
        split_weights(graph, Path(directory))
        return OnnxRuntime(Path(directory) / MODEL_FILE)


def _check_small_batches(predictor: Predictor, reference: Reference) -> None:
    """No rows, one and seven: a graph with a fixed batch dimension fails here, not in production."""
    for size in (0, 1, 7):
        rows = select_rows(reference.rows, slice(0, size))
        got = predictor.predict_columns(rows)
        want = min(size, len(next(iter(reference.rows.values()))))
        if any(len(values) != want for values in got.values()):
            raise ConversionError(f"a batch of {want} rows gives another number of answers")


def _wrongly_answered_nulls(reference: Reference, comparison: Comparison, tolerance: float) -> set[str]:
    """Columns in which only a made-up missing value is answered differently: nulls are refused there, instead of
    the whole model.
    """
    wrong = {
        probe.column
        for probe, error in zip(reference.probes, comparison.errors[reference.sample_rows :], strict=True)
        if probe.kind == "missing" and error > tolerance
    }
    sample = slice(0, reference.sample_rows)
    return {name for name in wrong if not has_missing(reference.rows[name][sample])}


def _with_nullability(signature: Signature, columns: Sequence[Column]) -> Signature:
    nullable = {column.name: column.nullable for column in columns}
    return replace(signature, columns=tuple(replace(c, nullable=nullable[c.name]) for c in signature.columns))


def _goldens(reference: Reference) -> tuple[dict[str, Array], dict[str, Array]]:
    probes = len(reference.probes)
    chosen = [*_spread(reference.sample_rows), *(reference.sample_rows + i for i in _spread(probes))]
    rows = np.array(sorted(set(chosen)))
    return select_rows(reference.rows, rows), select_rows(reference.answers, rows)


def _spread(count: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, MOST_GOLDENS)).astype(int)).tolist() if count else []


def _repeated(rows: Columns, most_values: int = 300_000) -> dict[str, Array]:
    """Enough rows for batches of several sizes, but not so many that large inputs take minutes."""
    count = len(next(iter(rows.values())))
    values_per_row = sum(int(np.prod(values.shape[1:])) for values in rows.values())
    wanted = max(17, min(600, most_values // values_per_row))
    indices = np.resize(np.arange(count), max(1, wanted))
    return select_rows(rows, indices)


def _parity_error(
    predictor: Predictor, reference: Reference, comparison: Comparison, tolerance: float
) -> ParityError:
    row, output = comparison.worst_row, comparison.worst_output
    got = predictor.predict_columns(select_rows(reference.rows, slice(row, row + 1)))
    beyond = int((comparison.errors > tolerance).sum())
    flips = f" and {comparison.flipped_labels} labels flipped" if comparison.flipped_labels else ""
    values = ", ".join(f"{name}={_shown(values[row])}" for name, values in list(reference.rows.items())[:12])
    return ParityError(
        f"the exported model answers differently in {beyond} of {len(comparison.errors)} rows: "
        f"largest error {comparison.largest_error:.2g}{flips}, tolerance {tolerance:.2g}",
        f"the worst is {_origin(reference, row)} ({values}): {output} is {_shown(got[output][0])} and the "
        f"original gives {_shown(reference.answers[output][row])}. Numbers beyond 2^24, or very close to a tree's "
        "thresholds, do not fit into float32; and a converter may treat a category or a missing value in its way",
        "train on float32 values or scale large numbers down, or allow more with --tolerance",
    )


def _origin(reference: Reference, row: int) -> str:
    if row < reference.sample_rows:
        return f"row {reference.sample_indices[row]} of the sample"
    probe = reference.probes[row - reference.sample_rows]
    return f"a made-up row with {words_of(probe.kind)} in {probe.column!r}"


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:40] + "…"
