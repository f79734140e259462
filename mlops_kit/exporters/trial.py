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
from mlops_kit.errors import BundleError, ConversionError, MlkitError, ParityError, SampleError
from mlops_kit.exporters.interface import Conversion, Sample, SourceModel
from mlops_kit.exporters.probes import Answered, Probe, ask, choose_sample_rows, make_probes
from mlops_kit.frames import join_rows, select_rows
from mlops_kit.parity import Comparison, compare, find_row_block
from mlops_kit.predictor import Predictor
from mlops_kit.runtimes.onnx_runtime import OnnxRuntime
from mlops_kit.schema import FLOATS, Array, Column, Columns, Signature

ROW_BLOCKS = (1, 2, 4, 8, 16)
INVENTED_ROWS = 64
MOST_GOLDENS = 32
"""Of the sample's rows and of the probes, each."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Rows with the original's answers: first those of the sample, by their indices in it, then the probes."""

    rows: Columns
    answers: Columns
    sample_indices: Array
    probes: tuple[Probe, ...]
    columns: tuple[Column, ...]
    notes: tuple[str, ...]

    @property
    def sample_rows(self) -> int:
        """How many of the rows are of the sample."""
        return len(self.sample_indices)


@dataclass(frozen=True, slots=True)
class Trial:
    """A conversion that passed, and what was measured on it."""

    conversion: Conversion
    parity: Parity
    row_block: int
    golden_rows: Columns
    golden_answers: Columns


def reference_rows(source: SourceModel, sample: Sample | None) -> Reference:
    """Ask the original framework about the sample and about made-up rows. Raises SampleError if it refuses
    the sample itself.
    """
    if sample is None:
        rows = _invented_rows(source.columns)
        indices = np.arange(INVENTED_ROWS)
    else:
        rows = {column.name: sample.columns[column.name] for column in source.columns}
        indices = choose_sample_rows(rows)
        rows = select_rows(rows, indices)
    try:
        answers = source.reference(rows)
    except MlkitError:
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        raise SampleError(
            f"the original {source.framework} model cannot predict the {'sample' if sample else 'made-up'} rows",
            line,
            "give a --sample with the columns and dtypes that it was trained on",
        ) from error
    asked = ask(source.reference, make_probes(source.columns, rows))
    columns = tuple(_narrowed(column, asked, rows[column.name]) for column in source.columns)
    return Reference(
        join_rows([rows, *(probe.row for probe in asked.probes)]),
        join_rows([answers, asked.answers]) if asked.probes else answers,
        indices,
        asked.probes,
        columns,
        tuple(_refusal_notes(asked)),
    )


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
    signature = _with_nullability(conversion.signature, reference.columns)

    def predictor_of(block: int) -> Predictor:
        return Predictor(signature, runtime, block)

    try:
        comparison = compare(reference.answers, predictor_of(1).predict_columns(reference.rows), tolerance)
        _check_small_batches(predictor_of(1), reference)
    except MlkitError as error:
        raise ConversionError(f"the converted model ({conversion.variant}) does not run", str(error)) from error
    reference, signature, comparison = _without_wrong_nulls(reference, signature, comparison, tolerance)
    if not comparison.is_within(tolerance):
        raise _parity_error(predictor_of(1), reference, comparison, tolerance)
    block = find_row_block(predictor_of, _repeated(reference.rows), ROW_BLOCKS)
    notes = reference.notes
    if block is None:
        notes = (*notes, "a row's answer depends, in its last bits, on the batch it comes in")
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
            notes=notes,
        ),
        block or 1,
        *_goldens(reference),
    )


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


def _without_wrong_nulls(
    reference: Reference, signature: Signature, comparison: Comparison, tolerance: float
) -> tuple[Reference, Signature, Comparison]:
    """Where only a missing value is answered differently, and the sample has none there, refuse nulls in that
    column instead of the whole model.
    """
    wrong = {
        probe.column
        for index, probe in enumerate(reference.probes)
        if probe.kind == "missing" and comparison.errors[reference.sample_rows + index] > tolerance
    }
    sample = select_rows(reference.rows, slice(0, reference.sample_rows))
    wrong = {name for name in wrong if not _has_missing(sample[name])}
    if not wrong:
        return reference, signature, comparison
    kept = [
        i for i, probe in enumerate(reference.probes) if not (probe.kind == "missing" and probe.column in wrong)
    ]
    rows = np.array([*range(reference.sample_rows), *(reference.sample_rows + i for i in kept)])
    notes = [f"missing values in {name!r} are refused: ONNX treats them differently" for name in sorted(wrong)]
    columns = tuple(replace(c, nullable=c.nullable and c.name not in wrong) for c in reference.columns)
    reference = Reference(
        select_rows(reference.rows, rows),
        select_rows(reference.answers, rows),
        reference.sample_indices,
        tuple(reference.probes[i] for i in kept),
        columns,
        (*reference.notes, *notes),
    )
    comparison = replace(comparison, errors=comparison.errors[rows])
    return reference, _with_nullability(signature, columns), comparison


def _narrowed(column: Column, asked: Answered, sample: Array) -> Column:
    """A column takes nulls if the original answers a row with one, or the sample has them."""
    probed = any(probe.column == column.name and probe.kind == "missing" for probe in asked.probes)
    return replace(column, nullable=column.nullable and (probed or _has_missing(sample)))


def _with_nullability(signature: Signature, columns: Sequence[Column]) -> Signature:
    nullable = {column.name: column.nullable for column in columns}
    return replace(signature, columns=tuple(replace(c, nullable=nullable[c.name]) for c in signature.columns))


def _has_missing(values: Array) -> bool:
    if values.dtype == object:
        return any(value is None for value in values.flat)
    return values.dtype.kind == "f" and bool(np.isnan(values).any())


def _refusal_notes(asked: Answered) -> Iterator[str]:
    for probe in asked.refused:
        if probe.kind != "missing":
            yield f"the original refuses {_words(probe.kind)} in {probe.column!r}; the exported model answers"


def _words(kind: str) -> str:
    return {"unseen": "an unseen category", "zero": "zero", "missing": "a missing value"}.get(
        kind, f"values {kind} the sample's range"
    )


def _parity_error(
    predictor: Predictor, reference: Reference, comparison: Comparison, tolerance: float
) -> ParityError:
    row, output = comparison.worst_row, comparison.worst_output
    got = predictor.predict_columns(select_rows(reference.rows, slice(row, row + 1)))
    flips = f" and {comparison.flipped_labels} labels flipped" if comparison.flipped_labels else ""
    values = ", ".join(f"{name}={_shown(values[row])}" for name, values in list(reference.rows.items())[:12])
    return ParityError(
        f"the exported model answers differently in {int((comparison.errors > tolerance).sum())} of "
        f"{len(comparison.errors)} rows: largest error {comparison.largest_error:.2g}{flips}, tolerance {tolerance:.2g}",
        f"the worst is {_origin(reference, row)} ({values}): {output} is {_shown(got[output][0])} and the original "
        f"gives {_shown(reference.answers[output][row])}. Numbers beyond 2^24, or very close to a tree's thresholds, "
        "do not fit into float32; and a converter may treat a category or a missing value in its own way",
        "train on float32 values or scale large numbers down, or allow more with --tolerance",
    )


def _origin(reference: Reference, row: int) -> str:
    if row < reference.sample_rows:
        return f"row {reference.sample_indices[row]} of the sample"
    probe = reference.probes[row - reference.sample_rows]
    return f"a made-up row with {_words(probe.kind)} in {probe.column!r}"


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _goldens(reference: Reference) -> tuple[dict[str, Array], dict[str, Array]]:
    probes = len(reference.probes)
    chosen = [*_spread(reference.sample_rows), *(reference.sample_rows + i for i in _spread(probes))]
    rows = np.array(sorted(set(chosen)))
    return select_rows(reference.rows, rows), select_rows(reference.answers, rows)


def _spread(count: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, MOST_GOLDENS)).astype(int)).tolist() if count else []


def _repeated(rows: Columns, most_values: int = 2_000_000) -> dict[str, Array]:
    """Enough rows for batches of several sizes, but not so many that large inputs take minutes."""
    count = len(next(iter(rows.values())))
    values_per_row = sum(int(np.prod(values.shape[1:])) for values in rows.values())
    wanted = max(17, min(600, most_values // values_per_row))
    indices = np.resize(np.arange(count), max(1, wanted))
    return select_rows(rows, indices)


def _invented_rows(columns: tuple[Column, ...]) -> dict[str, Array]:
    """Rows for a model that came without a sample. Seeded, so that the same model gives the same bundle."""
    random = np.random.default_rng(0)
    return {column.name: _invented(column, INVENTED_ROWS, random) for column in columns}


def _invented(column: Column, count: int, random: np.random.Generator) -> Array:
    shape = (count, *(size or 1 for size in column.shape))
    if column.dtype == "string":
        return np.full(shape, "a", object)
    if column.dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if column.dtype in FLOATS:
        return random.standard_normal(shape).astype(column.dtype)
    return random.integers(0, 10, shape).astype(column.dtype)
