"""All features of some rows: of windows, source by source, and of tables."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.offline.lookups import join_table
from mlops_kit.features.offline.spine import Spine
from mlops_kit.features.offline.windows import Columns, join_windows
from mlops_kit.features.offline.work import JoinReport, Resources


@dataclass(frozen=True, slots=True)
class Vectors:
    """Every feature of a spine's rows."""

    features: FeatureSet
    rows: int
    windows: Sequence[Columns]
    lookups: Sequence[pl.Series]

    def columns(self, first: int = 0, end: int | None = None) -> list[pl.Series]:
        """Those of the rows from `first` to `end`, in the order of the definition."""
        end = self.rows if end is None else min(end, self.rows)
        found = [column for columns in self.windows for column in columns.series(first, end)]
        by_name = {column.name: column for column in (*found, *(column[first:end] for column in self.lookups))}
        return [by_name[feature.name] for feature in self.features.features]


def compute_vectors(features: FeatureSet, spine: Spine, resources: Resources, report: JoinReport) -> Vectors:
    """Compute them, and add to the report.

    Raises UsageError for a history that is not there; InputError for what cannot be read, or asked.
    """
    started = time.perf_counter()
    windows = [join_windows(source, features.windows, spine, resources, report) for source in features.events]
    lookups = [
        column
        for table in features.tables
        for column in join_table(table, features.lookups, spine, resources, report)
    ]
    report.rows += spine.frame.height
    report.seconds += time.perf_counter() - started
    return Vectors(features, spine.frame.height, windows, lookups)
