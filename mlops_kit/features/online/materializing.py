"""Everything that a feature set needs, into a store: tables first, because they are quick."""

from collections.abc import Callable
from dataclasses import dataclass

from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.online.filling import Filled, Filling, fill_state
from mlops_kit.features.online.publishing import PublishedTable, publish_table
from mlops_kit.stores.interface import Store


@dataclass(frozen=True, slots=True)
class MaterializeJob:
    """What is wanted: as in `Filling`."""

    features: FeatureSet
    as_of_us: int
    is_end: bool = False
    is_anew: bool = False


@dataclass(frozen=True, slots=True)
class Materialized:
    """What became of each source. Sources of events without a history are not among them."""

    tables: tuple[PublishedTable, ...]
    events: tuple[Filled, ...]


def materialize_features(job: MaterializeJob, store: Store, on_rows: Callable[[int], None]) -> Materialized:
    """Fill the store, or bring it up to date. Raises what its parts raise; what is done by then stays done."""
    filling = Filling(job.as_of_us, job.is_end, job.is_anew, on_rows)
    return Materialized(
        tuple(publish_table(source, job.features, store, filling) for source in job.features.tables),
        tuple(
            fill_state(source, job.features.windows, store, filling)
            for source in job.features.events
            if source.history
        ),
    )
