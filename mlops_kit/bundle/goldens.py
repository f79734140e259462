"""goldens.parquet: rows with the outputs that the original framework gave, to ask again anywhere."""

from pathlib import Path

import polars as pl

from mlops_kit.bundle.manifest import Manifest
from mlops_kit.errors import BundleError
from mlops_kit.frames import columns_of, frame_of
from mlops_kit.schema import Columns

FILE_NAME = "goldens.parquet"
INPUT, OUTPUT = "input.", "output."


def write_goldens(directory: Path, rows: Columns, answers: Columns) -> None:
    """Write rows and answers; the same data gives the same bytes."""
    columns = {INPUT + name: values for name, values in rows.items()}
    columns |= {OUTPUT + name: values for name, values in answers.items()}
    frame_of(columns).write_parquet(directory / FILE_NAME, compression="zstd", statistics=False)


def read_goldens(directory: Path, manifest: Manifest) -> tuple[Columns, Columns]:
    """The rows, and the answers of the original framework. Raises BundleError if they are damaged or absent."""
    if FILE_NAME not in {entry.name for entry in manifest.files}:
        raise BundleError(FILE_NAME, "the manifest does not list it")
    try:
        columns, _ = columns_of(pl.read_parquet(directory / FILE_NAME))
        rows = {c.name: columns[INPUT + c.name] for c in manifest.signature.columns}
        answers = {o.name: columns[OUTPUT + o.name] for o in manifest.signature.outputs}
    except (pl.exceptions.PolarsError, OSError, KeyError) as error:
        raise BundleError(FILE_NAME, f"it cannot be read, or lacks a column of the signature ({error})") from error
    if not len(next(iter(answers.values()))):
        raise BundleError(FILE_NAME, "it has no rows")
    return rows, answers
