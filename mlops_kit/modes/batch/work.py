"""What an engine is given."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_kit.modes.batch.job import BatchJob
from mlops_kit.modes.batch.scoring import Scorer
from mlops_kit.modes.batch.sources.interface import Source, Unit
from mlops_kit.modes.batch.units import Plan
from mlops_kit.modes.batch.workspace import Run
from mlops_kit.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Work:
    """`units` of the plan, to be scored for a run. The predictor is a bundle's, and the scorer the predictor's."""

    job: BatchJob
    predictor: Predictor
    source: Source
    scorer: Scorer
    plan: Plan
    run: Run
    units: Sequence[Unit]
