"""A result as a long bench gives it: all modes and scenarios, three repetitions, made up but plausible."""

import math
from typing import Any

from mlops_kit.bench.results import BenchResult, Distribution, Measurement, Point
from tests.bench.results import estimate, machine, measured, result

QUANTILES = {"p50": 0.0, "p90": 1.28, "p95": 1.64, "p99": 2.33, "p99.9": 3.09}


def spread(middle_s: float, width: float = 0.35, requests: int = 40_000) -> Distribution:
    """A log-normal distribution, in bins of which there are 20 in each power of ten."""
    first, last = (math.floor(20 * math.log10(middle_s * math.exp(width * z))) for z in (-3, 4))
    edges = [10 ** (place / 20) for place in range(first, last + 1)]
    weights = [math.exp(-((math.log(edge / middle_s) / width) ** 2) / 2) for edge in edges[:-1]]
    percentiles = {name: middle_s * math.exp(width * z) for name, z in QUANTILES.items()}
    return Distribution(
        requests=requests,
        percentiles={name: estimate(value, value * 1.05, value * 0.96) for name, value in percentiles.items()},
        edges_s=tuple(edges),
        counts=tuple(round(requests * weight / sum(weights)) for weight in weights),
    )


def curve(capacity: float, base_s: float, slo_s: float = 0.1) -> tuple[Point, ...]:
    """Of a queue: the nearer to its capacity, the later."""
    points = []
    for repetition in (0.97, 1.0, 1.02):
        for share in (0.125, 0.25, 0.5, 0.75, 0.9, 0.97, 1.05):
            p99_s = base_s / max(0.002, 1 - share / repetition) * 1.5
            offered = capacity * share * repetition
            points.append(Point(offered, min(offered, capacity), p99_s / 3, p99_s, 0, p99_s <= slo_s))
    return tuple(points)


def served(mode: str, scenario: str, *rates: float, latency: Distribution, **changes: Any) -> Measurement:
    given = {"client_cpu": 0.41, "client_limit": 31_000.0, "peak_memory_bytes": 182_000_000, **changes}
    return measured(mode, scenario, *rates, latency=latency, **given)


STAGES = {"send": 0.00002, "queue": 0.00031, "assemble": 0.00004, "model": 0.00012, "rest": 0.00023}
SINGLE = {"send": 0.000004, "queue": 0.00001, "assemble": 0.00003, "model": 0.00009, "rest": 0.00015}


def example(**changes: Any) -> BenchResult:
    return result(
        measured("batch", "offline", 512_000, 498_000, 505_000, peak_memory_bytes=331_000_000, start_s=1.3),
        measured(
            "lookup", "offline", 214_000, 209_000, 220_000,
            peak_memory_bytes=402_000_000, stored_bytes_per_row=41.0, start_s=1.4,
        ),
        served("lookup", "single-stream", 18_200, 17_900, 18_600, latency=spread(0.00004), peak_memory_bytes=None),
        served(
            "lookup", "server", 15_100, 14_800, 15_400,
            latency=spread(0.00021), points=curve(16_000, 0.0001), peak_memory_bytes=None,
        ),
        served("online-grpc", "single-stream", 3_300, 3_250, 3_350, latency=spread(0.00028), stages_s=SINGLE),
        served("online-grpc", "multi-stream", 2_100, 2_080, 2_150, latency=spread(0.00041), stages_s=SINGLE),
        served(
            "online-grpc", "server", 9_300, 9_100, 9_500,
            latency=spread(0.0007, 0.6), points=curve(9_900, 0.0004), stages_s=STAGES,
        ),
        served("online-rest", "single-stream", 2_900, 2_850, 2_950, latency=spread(0.00031), stages_s=SINGLE),
        served(
            "online-rest", "server", 7_600, 7_500, 7_800,
            latency=spread(0.0009, 0.7), points=curve(8_000, 0.0005), stages_s=STAGES, errors={"timeout": 3},
            notes=("the load client used more than 90 % of its core: it may have been the limit",),
        ),
        **{"machine": machine(cores=2, load_average=1.4), "price_per_hour": 0.1, **changes},
    )  # fmt: skip
