"""The files of a prediction log: FOLDER/model=NAME/day=YYYY-MM-DD/part-UNIQUE.parquet.

Parts are written in FOLDER/.writing, and appear where they belong when they are whole: readers of a partition, or
of `FOLDER/*/*/*.parquet`, never meet anything else.
"""

import tempfile
import time
import uuid
from pathlib import Path
from urllib.parse import quote

import polars as pl

from mlops_kit.bundle.files import sync
from mlops_kit.errors import UsageError

WRITING = ".writing"
LEFTOVER_S = 3600
"""Writing a part takes a moment: what is older was left by a process that was killed."""


def prepare_folder(folder: Path) -> None:
    """Make the folder, see that files can be written in it, and remove what killed processes left.

    Raises UsageError.
    """
    try:
        (folder / WRITING).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder / WRITING):
            pass
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(
            f"{folder}: predictions cannot be logged there", why, "check --log-predictions"
        ) from error
    for path in (folder / WRITING).iterdir():
        if time.time() - path.stat().st_mtime > LEFTOVER_S:
            path.unlink(missing_ok=True)


def write_part(folder: Path, model: str, day: str, frame: pl.DataFrame) -> None:
    """Write a part: whoever sees it sees all of it, also after a crash. Raises OSError or PolarsError."""
    partition = folder / f"model={quote(model, safe='')}" / f"day={day}"
    name = f"part-{uuid.uuid4().hex}.parquet"
    temporary = folder / WRITING / name
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        frame.write_parquet(temporary, compression="zstd")
        sync(temporary)
        partition.mkdir(parents=True, exist_ok=True)
        temporary.rename(partition / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(partition)
