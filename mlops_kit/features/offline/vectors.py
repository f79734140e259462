"""All features of some rows: of windows, source by source, and of tables."""

import time

import polars as pl

from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.offline.lookups import join_table
from mlops_kit.features.offline.spine import Spine
from mlops_kit.features.offline.windows import join_windows
from mlops_kit.features.offline.work import JoinReport, Resources


def feature_columns(
    features: FeatureSet, spine: Spine, resources: Resources, report: JoinReport
) -> list[pl.Series]:
    """Every feature of these rows, in the order of the definition; adds to the report.

    Raises UsageError for a history that is not there; InputError for what cannot be read, or asked.
    """
    started = time.perf_counter()
    found: dict[str, pl.Series] = {}
    for source in features.events:
        columns = join_windows(source, features.windows, spine, resources, report)
        found |= {column.name: column for column in columns}
    for table in features.tables:
        columns = join_table(table, features.lookups, spine, resources, report)
        found |= {column.name: column for column in columns}
    report.rows += spine.frame.height
    report.seconds += time.perf_counter() - started
    return [found[feature.name] for feature in features.features]
