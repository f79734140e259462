"""The Parquet files of a history or a table: which they are, in what order, and what columns they have."""

import glob
from pathlib import Path

import polars as pl

from mlops_kit.errors import InputError


def parquet_files(path: str) -> list[Path]:
    """The files that a path means, in the order in which their rows count: a file, a folder (with those below it,
    but for hidden ones and those that begin with "_"), or a pattern. Empty if there are none.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if root.is_dir():
        return sorted(file for file in root.rglob("*.parquet") if file.is_file() and _is_meant(file, root))
    # Path.glob takes no absolute pattern.
    found = (Path(name) for name in glob.glob(path, recursive=True))  # noqa: PTH207
    return sorted(file for file in found if file.is_file())


def parquet_schema(path: str) -> dict[str, pl.DataType] | None:
    """The columns of the newest file, which has every column that there is by now; None without any file.

    Reads its footer only. Raises InputError if it is damaged.
    """
    files = parquet_files(path)
    if not files:
        return None
    try:
        return dict(pl.scan_parquet(files[-1], glob=False, hive_partitioning=False).collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        why = str(error).split("\n", 1)[0]
        is_parquet = files[-1].suffix.lower() in (".parquet", ".pq")
        fix = "write the file anew" if is_parquet else "convert it: histories and tables are Parquet"
        raise InputError(f"{files[-1]}: cannot be read", why, fix) from error


def _is_meant(file: Path, root: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in file.relative_to(root).parts)
