"""The sample: rows like those that the model was trained on, from a file or a data frame."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlops_kit.errors import MissingColumnsError, MlkitError, SampleError, listed
from mlops_kit.exporters.interface import Sample
from mlops_kit.frames import columns_of, read_frame, to_polars


def read_sample(source: Any, target: str | None = None) -> Sample:
    """A sample from a file (Parquet, CSV, NDJSON, Arrow, .npz), a data frame, or a mapping of arrays.

    `target` is the column that the model predicts; it is left out. Raises SampleError.
    """
    try:
        columns, others = _read(source)
    except SampleError:
        raise
    except MlkitError as error:
        raise SampleError(f"the sample: {error.what}", error.why, error.fix) from error
    if target is not None:
        if target not in columns and target not in others:
            raise _missing_target(target, columns)
        columns.pop(target, None)
        others.pop(target, None)
    if not columns:
        raise SampleError(
            "the sample has no column that a model can take", "", "give numbers, text or truth values"
        )
    if not len(next(iter(columns.values()))):
        raise SampleError("the sample has no rows", "there is nothing to compare the answers on", "give some rows")
    return Sample(columns, others)


def refuse_unsupported(sample: Sample, error: MissingColumnsError) -> None:
    """Raise SampleError if the missing columns are there, but of a dtype that no model takes."""
    there = [name for name in error.missing if name in sample.unsupported]
    if there:
        dtypes = ", ".join(f"{name!r} is {sample.unsupported[name]}" for name in there)
        raise SampleError(
            f"the model needs {listed(there)} of the sample, in a dtype that mlkit does not take",
            dtypes,
            "turn it into numbers, text or truth values before training",
        ) from error


def _read(source: Any) -> tuple[dict[str, Any], dict[str, str]]:
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.suffix == ".npz":
            return _read_npz(path), {}
        return columns_of(read_frame(path))
    if isinstance(source, np.ndarray):
        if source.ndim != 2:
            raise SampleError(
                f"the sample has {source.ndim} dimensions", "", "give a matrix, a frame, or columns by name"
            )
        return {f"x{index}": source[:, index] for index in range(source.shape[1])}, {}
    if isinstance(source, Mapping):
        columns = {str(name): np.asarray(values) for name, values in source.items()}
        return {name: _as_column(name, values) for name, values in columns.items()}, {}
    return columns_of(to_polars(source))


def _as_column(name: str, values: Any) -> Any:
    if values.ndim == 0 or values.dtype.kind not in "fiubUO":
        raise SampleError(
            f"column {name!r} of the sample is {values.dtype}", "", "give numbers, text or truth values"
        )
    return values.astype(object) if values.dtype.kind == "U" else values


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: _as_column(name, arrays[name]) for name in arrays.files}
    except (OSError, ValueError) as error:
        raise SampleError(
            f"{path}: cannot be read", str(error), "write it with numpy.savez, without objects"
        ) from error


def _missing_target(target: str, columns: Mapping[str, Any]) -> SampleError:
    error = MissingColumnsError([target], columns)
    return SampleError(f"the sample has no target column {target!r}", error.why, error.fix)
