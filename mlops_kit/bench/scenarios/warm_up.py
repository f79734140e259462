"""Requests before a measurement, of which nothing is kept but whether they were enough."""

from dataclasses import dataclass

import numpy as np

from mlops_kit.bench.load.interface import Closed, Target
from mlops_kit.bench.load.processes import LoadProcess
from mlops_kit.bench.statistics import is_steady

SLICE_S = 0.1


@dataclass(frozen=True, slots=True)
class WarmUp:
    """`median_s`: the latency at its end; infinite where nothing was answered. `request_s`: how long it takes
    until the next request, on average over all of it, the slow ones included.
    """

    median_s: float
    request_s: float
    notes: tuple[str, ...]


def warm_up(client: LoadProcess, target: Target, most_s: float) -> WarmUp:
    """Ask one after the other until the latency changes no more, or for so long."""
    medians: list[float] = []
    answered, taken_s = 0, 0.0
    while len(medians) < most_s / SLICE_S and not is_steady(medians):
        load = client.run(target, Closed(1, SLICE_S))
        latencies = load.latencies_s
        answered, taken_s = answered + len(latencies), taken_s + load.seconds
        medians.append(float(np.median(latencies)) if len(latencies) else np.inf)
    notes = () if is_steady(medians) else (f"not steady after a warm-up of {most_s:g} s",)
    return WarmUp(medians[-1], taken_s / answered if answered else np.inf, notes)
