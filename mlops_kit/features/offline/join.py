"""Features beside rows: the same kind of frame in and out."""

import tempfile
import time as clock
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.offline.lookups import join_table
from mlops_kit.features.offline.spine import Spine, check_spine, read_spine
from mlops_kit.features.offline.windows import join_windows
from mlops_kit.features.offline.work import DEFAULT_MEMORY, JoinReport, Resources
from mlops_kit.frames import to_polars


def join(
    features: FeatureSet,
    spine: Any,
    *,
    time: str | None = None,
    applied: Mapping[str, str] | None = None,
    memory_bytes: int = DEFAULT_MEMORY,
) -> Any:
    """The rows of a Polars, pandas or Arrow frame with every feature as of each row's time, in the same order.

    - `time`: the column of time; without it, the only one of timestamps.
    - `applied`: source → column with the highest sequence number that a row may see, to replay what was logged.
    - `memory_bytes`: what events may take, roughly, before they are spilled to a temporary folder; not counted is
      the spine itself.

    Warns of events that were left out. Raises UsageError, InputError and MissingColumnsError.
    """
    frame = to_polars(spine)
    asking = check_spine(frame.schema, features, time, applied)
    report = JoinReport(rows=frame.height)
    with tempfile.TemporaryDirectory(prefix="mlkit-join-") as folder:
        columns = feature_columns(
            features, read_spine(frame, asking), Resources(Path(folder), memory_bytes), report
        )
    for text in report.warnings:
        warnings.warn(text, stacklevel=2)
    return _beside(spine, columns)


def feature_columns(
    features: FeatureSet, spine: Spine, resources: Resources, report: JoinReport
) -> list[pl.Series]:
    """Every feature of these rows, in the order of the definition. Adds to the report. Raises as above."""
    started = clock.perf_counter()
    found: dict[str, pl.Series] = {}
    for source in features.events:
        found |= {
            column.name: column for column in join_windows(source, features.windows, spine, resources, report)
        }
    for table in features.tables:
        found |= {column.name: column for column in join_table(table, features.lookups, spine, resources, report)}
    report.seconds += clock.perf_counter() - started
    return [found[feature.name] for feature in features.features]


def _beside(spine: Any, columns: list[pl.Series]) -> Any:
    if isinstance(spine, pl.LazyFrame):
        return spine.collect().hstack(columns).lazy()
    if isinstance(spine, pl.DataFrame):
        return spine.hstack(columns)
    if type(spine).__module__.partition(".")[0] == "pandas":
        return spine.assign(**{column.name: column.to_pandas().set_axis(spine.index) for column in columns})
    for column in columns:
        spine = spine.append_column(column.name, column.to_arrow())
    return spine
