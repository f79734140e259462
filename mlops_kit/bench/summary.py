"""From repetitions to a measurement, with notes on what limits it."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

import numpy as np

from mlops_kit.bench.figures import percent
from mlops_kit.bench.results import Distribution, Measurement
from mlops_kit.bench.scenarios.repetition import Repetition
from mlops_kit.bench.statistics import PERCENTILES, distribution, estimate, least_requests

BUSY = 0.9
NEAR = 0.8
"""A rate so close to what the client reaches against a server that does nothing may be the client's own."""

MAYBE = "it may have been the limit, and not what it asked"


def summarise(
    mode: str,
    scenario: str,
    percentile: str | None,
    repetitions: Sequence[Repetition],
    client_limit: float | None,
) -> Measurement:
    """`percentile` is the one that the scenario is known for."""
    loads = [repetition.load for repetition in repetitions if repetition.load]
    latency = distribution([repetition.latencies_s for repetition in repetitions])
    errors = sum((Counter(load.errors) for load in loads), Counter())
    cpu = max((load.client_cpu for load in loads), default=None)
    peaks = [repetition.peak_memory_bytes for repetition in repetitions if repetition.peak_memory_bytes]
    starts = [repetition.start_s for repetition in repetitions if repetition.start_s is not None]
    answered = max((load.rate for load in loads), default=0.0)
    notes = [
        *dict.fromkeys(note for repetition in repetitions for note in repetition.notes),
        *_percentile_notes(percentile, latency),
        *_client_notes(answered, cpu, client_limit),
    ]
    return Measurement(
        mode=mode,
        scenario=scenario,
        rate=estimate([repetition.rate for repetition in repetitions]),
        latency=latency,
        points=tuple(point for repetition in repetitions for point in repetition.points),
        stages_s=_mean_stages(repetitions),
        errors=dict(errors),
        peak_memory_bytes=max(peaks, default=None),
        client_cpu=cpu,
        client_limit=client_limit if loads else None,
        notes=tuple(notes),
        stored_bytes_per_row=repetitions[-1].stored_bytes_per_row,
        start_s=median(starts) if starts else None,
        peak_memory_samples=tuple(peaks[-1:] if loads else peaks),
    )


def _mean_stages(repetitions: Sequence[Repetition]) -> dict[str, float]:
    found = [repetition.stages_s for repetition in repetitions if repetition.stages_s]
    names = dict.fromkeys(name for stages in found for name in stages)
    return {name: float(np.mean([stages[name] for stages in found if name in stages])) for name in names}


def _percentile_notes(percentile: str | None, latency: Distribution | None) -> list[str]:
    if percentile is None or (latency and percentile in latency.percentiles):
        return []
    least = least_requests(PERCENTILES[percentile])
    return [f"no {percentile}: it takes {least} answers in each repetition, and there were fewer"]


def _client_notes(rate: float, cpu: float | None, limit: float | None) -> list[str]:
    if cpu is not None and cpu > BUSY:
        return [f"the load client used more than {percent(BUSY)} of its core: {MAYBE}"]
    if limit is not None and rate > NEAR * limit:
        return [f"the load client reaches little more where nothing is to be done: {MAYBE}"]
    return []
