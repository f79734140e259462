"""How long each thing is measured, and how often."""

import math
from dataclasses import dataclass

from mlops_kit.bench.interface import OFFLINE, SCENARIOS, SERVER, SINGLE_STREAM

QUICK_SCENARIOS = (SINGLE_STREAM, SERVER, OFFLINE)

LEAST_OBJECTIVES = 20
"""A rate that is 5 % too high makes a queue of one objective in as long as 20 of them: see ServerScenario."""

LONGEST_S = 60.0
"""How far a measurement may be prolonged to get as many requests as its percentile takes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """- `rounds`: repetitions of everything, interleaved, so that what changes on the machine meets all alike.
    - `scenarios`: those that are measured if nobody says which.
    - `closed_s`, `offline_s`: seconds of each repetition; `point_s` of each rate that is tried.
    - `warm_up_s`: what a warm-up may take, if it does not become steady before.
    - `slo_s`: the latency objective. `resolution`: how close the largest rate that meets it is looked for.
    """

    rounds: int
    closed_s: float
    offline_s: float
    point_s: float
    slo_s: float
    resolution: float
    warm_up_s: float = 2.0
    scenarios: tuple[str, ...] = SCENARIOS
    is_quick: bool = False

    def prolonged(self, seconds: float, wanted_s: float) -> float:
        """As long as it takes to get enough requests, within reason; a quick run is not prolonged."""
        if self.is_quick or not math.isfinite(wanted_s):
            return seconds
        return max(seconds, min(wanted_s, LONGEST_S))


def plan_of(duration_s: float, slo_s: float) -> Plan:
    """So many seconds for every scenario of every mode, in three repetitions; searching a rate takes longer."""
    share = duration_s / 3
    return Plan(3, share, share, max(share, LEAST_OBJECTIVES * slo_s), slo_s, 1.03)


def quick_plan(slo_s: float) -> Plan:
    """A first picture in under half a minute."""
    return Plan(1, 0.5, 0.7, 0.4, slo_s, 1.2, warm_up_s=0.5, scenarios=QUICK_SCENARIOS, is_quick=True)
