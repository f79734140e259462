"""What an engine is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.journal import UnitRecord
from mlops_kit.modes.batch.scoring import Scorer
from mlops_kit.modes.batch.sources.interface import Source, Unit
from mlops_kit.modes.batch.units import Plan
from mlops_kit.modes.batch.workspace import Run
from mlops_kit.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Work:
    """The units of the plan that a run has no `records` of yet. The engine's caller adds the record of each
    finished unit. The predictor is a bundle's, and the scorer the predictor's.
    """

    job: BatchJob
    predictor: Predictor
    source: Source
    scorer: Scorer
    plan: Plan
    run: Run
    records: Mapping[str, UnitRecord]

    @property
    def units(self) -> Sequence[Unit]:
        """Those that are still to be scored, in order."""
        return [unit for unit in self.plan.units if unit.part not in self.records]

    def rows_before(self, unit: Unit) -> int:
        """How many rows the unit's source has before it, if the units there are finished."""
        before = takewhile(lambda other: other is not unit, self.plan.units)
        return sum(self.records[other.part].records for other in before if other.source == unit.source)
