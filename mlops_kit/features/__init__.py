"""Features: defined once, the same bits offline, online and in the stream.

departures = Events("departures", key="origin", time="departed_at", history="data/departures/")
features = [departures.window("1h").agg(delay_mean_1h=mean("dep_delay", default=0.0), departures_1h=count())]
"""

from mlops_kit.features.definition.aggregations import (
    count,
    distinct_count,
    first,
    last,
    last_k,
    max,  # noqa: A004
    mean,
    min,  # noqa: A004
    std,
    sum,  # noqa: A004
    time_since_last,
    var,
)
from mlops_kit.features.definition.compilation import feature_set
from mlops_kit.features.definition.loading import load_definition
from mlops_kit.features.definition.sources import Events, Table
from mlops_kit.features.offline.join import join

__all__ = [
    "Events",
    "Table",
    "count",
    "distinct_count",
    "feature_set",
    "first",
    "join",
    "last",
    "last_k",
    "load_definition",
    "max",
    "mean",
    "min",
    "std",
    "sum",
    "time_since_last",
    "var",
]
