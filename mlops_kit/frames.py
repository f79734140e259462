"""Between data frames and plain columns of NumPy arrays."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlops_kit.errors import InputError
from mlops_kit.schema import Array, Columns

READERS: Mapping[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".ndjson": pl.read_ndjson,
    ".jsonl": pl.read_ndjson,
    ".arrow": pl.read_ipc,
    ".feather": pl.read_ipc,
}
"""How a data file is read, by its suffix."""


def read_frame(path: Path) -> pl.DataFrame:
    """Read a data file into memory. Raises InputError if it is missing, of an unknown kind, or damaged."""
    if not path.exists():
        raise InputError(f"{path}: no such file", fix="check the path")
    if path.is_dir():
        return _read_folder(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: unknown kind of file", f"mlkit reads {', '.join(READERS)}", "convert the file")
    try:
        return reader(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: cannot be read", str(error).split("\n", 1)[0], "check the file") from error


def _read_folder(path: Path) -> pl.DataFrame:
    files = sorted(file for file in path.rglob("*.parquet") if file.is_file())
    if not files:
        raise InputError(f"{path}: no Parquet file in it", fix="give a data file, or a folder of Parquet files")
    return pl.concat([read_frame(file) for file in files])


def to_polars(frame: Any) -> pl.DataFrame:
    """A Polars frame from a Polars, pandas or Arrow one, or from a mapping of columns."""
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if type(frame).__module__.partition(".")[0] == "pandas":
        return pl.DataFrame(pl.from_pandas(frame))
    if hasattr(frame, "__arrow_c_stream__"):
        return pl.DataFrame(frame)
    raise InputError(f"a {type(frame).__name__} is no data frame", fix="give a Polars, pandas or Arrow frame")


def columns_of(frame: pl.DataFrame) -> tuple[dict[str, Array], dict[str, str]]:
    """Columns that a model can take, zero-copy where there are no nulls; and the dtypes of the others."""
    columns: dict[str, Array] = {}
    others: dict[str, str] = {}
    for series in frame:
        values = _column(series)
        if values is None:
            others[series.name] = str(series.dtype)
        else:
            columns[series.name] = values
    return columns, others


def frame_of(columns: Columns) -> pl.DataFrame:
    """A frame; a column of more than one dimension becomes one of fixed-size arrays."""
    return pl.DataFrame([_series(name, values) for name, values in columns.items()])


def select_rows(columns: Columns, rows: Any) -> dict[str, Array]:
    """The same columns with only some rows: a slice, or an array of indices."""
    return {name: values[rows] for name, values in columns.items()}


def join_rows(parts: list[Mapping[str, Array]]) -> dict[str, Array]:
    """The rows of several sets of the same columns, one set after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _column(series: pl.Series) -> Array | None:
    dtype = series.dtype
    if dtype.is_integer() or dtype.is_float():
        if dtype in (pl.Int128, pl.UInt128):
            return None
        return series.to_numpy()
    if dtype == pl.Boolean:
        # A missing truth value has no place in a bool array; as a float it is NaN.
        return series.cast(pl.Float64).to_numpy() if series.null_count() else series.to_numpy()
    if dtype == pl.String:
        return series.to_numpy().astype(object)
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        return series.cast(pl.String).to_numpy().astype(object)
    if isinstance(dtype, pl.Array):
        values = series.to_numpy()
        return values if values.dtype.kind in "fiub" else None
    if isinstance(dtype, pl.List):
        return _nested(series)
    return None


def _nested(series: pl.Series) -> Array | None:
    try:
        values = np.array(series.to_list())
    except ValueError:  # lists of different lengths have no shape
        return None
    if values.dtype.kind == "U":
        return values.astype(object)
    return values if values.dtype.kind in "fiub" else None


def _series(name: str, values: Array) -> pl.Series:
    if values.dtype == object:
        dtype: Any = pl.String
        for _ in range(values.ndim - 1):
            dtype = pl.List(dtype)
        return pl.Series(name, values.tolist(), dtype=dtype)
    return pl.Series(name, values)
