"""The folders of a hive-partitioned dataset, such as month=12/carrier=B6, as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pyarrow as pa

NULL = "__HIVE_DEFAULT_PARTITION__"
INT64_DIGITS = 18


@dataclass(frozen=True, slots=True)
class HiveColumns:
    """The partition columns of a dataset and their types: int64 where all are whole numbers, else string."""

    types: Mapping[str, pa.DataType]

    def values(self, file: Path) -> dict[str, pl.Series]:
        """A one-row column for each partition column, with the file's value. `file` is relative to the dataset."""
        folders = _folders(file)
        return {name: _series(name, folders[name], type_) for name, type_ in self.types.items()}


def hive_columns(files: Sequence[Path]) -> HiveColumns:
    """The partition columns that the paths of all files have; `files` are relative to the dataset.

    >>> dict(hive_columns([Path("month=12/a.parquet"), Path("month=1/b.parquet")]).types)
    {'month': DataType(int64)}
    """
    every = [_folders(file) for file in files]
    names = [name for name in every[0] if all(name in folders for folders in every)] if every else []
    return HiveColumns(
        {name: pa.int64() if all(_is_whole(folders[name]) for folders in every) else pa.string() for name in names}
    )


def _folders(file: Path) -> dict[str, str | None]:
    pairs = [part.split("=", 1) for part in file.parts[:-1] if "=" in part]
    return {unquote(name): None if value == NULL else unquote(value) for name, value in pairs}


def _is_whole(value: str | None) -> bool:
    if value is None:
        return True
    digits = value.removeprefix("-")
    # "007" is a name rather than a number: it would come back as 7.
    return digits.isdecimal() and digits.isascii() and len(digits) <= INT64_DIGITS and str(int(value)) == value


def _series(name: str, value: str | None, type_: pa.DataType) -> pl.Series:
    if type_ == pa.int64():
        return pl.Series(name, [None if value is None else int(value)], dtype=pl.Int64)
    return pl.Series(name, [value], dtype=pl.String)
