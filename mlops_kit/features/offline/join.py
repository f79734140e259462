"""Features beside the rows of a frame: the same kind of frame in and out."""

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from mlops_kit.errors import MissingExtraError
from mlops_kit.features.definition.compilation import Definition, feature_set
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.offline.work import DEFAULT_MEMORY, JoinReport, Resources
from mlops_kit.frames import to_polars


def join(
    features: FeatureSet | Sequence[Definition],
    spine: Any,
    *,
    time: str | None = None,
    applied: Mapping[str, str] | None = None,
    memory_bytes: int = DEFAULT_MEMORY,
) -> Any:
    """The rows of a Polars, pandas or Arrow frame, in their order, with every feature as of each row's time.

    - `features`: a definition, or the list that one is made of.
    - `time`: the column of time; without it, the only one of timestamps.
    - `applied`: source → column with the highest sequence number that a row may see, to replay what was logged.
    - `memory_bytes`: what events may take, roughly, before they are spilled to a temporary folder. The frame and
      its features come on top.

    Warns of events that were left out. Raises UsageError for names that clash and for a history that is not there,
    MissingColumnsError, and InputError for what cannot be read, or asked.
    """
    try:
        from mlops_kit.features.offline.spine import check_spine, read_spine
        from mlops_kit.features.offline.vectors import compute_vectors
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "numba", "features", "computing features") from error

    definition = features if isinstance(features, FeatureSet) else feature_set(features)
    asking = check_spine(to_polars(_without_rows(spine)).schema, definition, time, applied)
    asked = read_spine(to_polars(_selected(spine, asking.columns)), asking)
    report = JoinReport()
    with tempfile.TemporaryDirectory(prefix="mlkit-join-") as folder:
        vectors = compute_vectors(definition, asked, Resources(Path(folder), memory_bytes), report)
    for text in report.warnings:
        warnings.warn(text, stacklevel=2)
    return _beside(spine, vectors.columns())


def _is_pandas(frame: Any) -> bool:
    return type(frame).__module__.partition(".")[0] == "pandas"


def _is_polars(frame: Any) -> bool:
    return isinstance(frame, (pl.DataFrame, pl.LazyFrame))


def _without_rows(spine: Any) -> Any:
    return spine.head(0) if _is_pandas(spine) or _is_polars(spine) else spine.slice(0, 0)


def _selected(spine: Any, columns: Sequence[str]) -> Any:
    """Only what is needed: the rest may be of types that others do not know."""
    return spine[list(columns)] if _is_pandas(spine) else spine.select(list(columns))


def _beside(spine: Any, columns: list[pl.Series]) -> Any:
    if isinstance(spine, pl.LazyFrame):
        return spine.collect().hstack(columns).lazy()
    if isinstance(spine, pl.DataFrame):
        return spine.hstack(columns)
    if _is_pandas(spine):
        return spine.assign(**{column.name: column.to_pandas().set_axis(spine.index) for column in columns})
    for column in columns:
        spine = spine.append_column(column.name, column.to_arrow())
    return spine
