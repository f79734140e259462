"""Results as a bench would give them, made up."""

from dataclasses import replace

from mlops_kit.bench.results import (
    BenchResult,
    Distribution,
    Estimate,
    Machine,
    Measurement,
    Parity,
    Point,
)

SLO_S = 0.1


def machine(**changes: object) -> Machine:
    it = Machine(
        cpu="Example CPU 3000",
        cores=1,
        memory_bytes=8_000_000_000,
        system="Linux 6.1.0 x86_64",
        limits={"open files": "1024"},
        versions={"python": "3.11.9", "mlops-kit": "0.1.0"},
        load_average=0.1,
    )
    return replace(it, **changes)  # type: ignore[arg-type]


def estimate(*samples: float) -> Estimate:
    values = sorted(samples)
    return Estimate(values[len(values) // 2], values[0], values[-1], samples)


def latency(**percentiles: float) -> Distribution:
    return Distribution(
        requests=5000,
        percentiles={name: estimate(value) for name, value in percentiles.items()},
        edges_s=(0.0005, 0.001, 0.002, 0.004, 0.008),
        counts=(500, 3500, 900, 100),
    )


def measured(mode: str, scenario: str, *rates: float, **changes: object) -> Measurement:
    it = Measurement(
        mode=mode,
        scenario=scenario,
        rate=estimate(*rates),
        latency=None if scenario == "offline" else latency(p50=0.001, p99=0.004),
        points=(),
        stages_s={},
        errors={},
        peak_memory_bytes=None,
        client_cpu=None,
        client_limit=None,
    )
    return replace(it, **changes)  # type: ignore[arg-type]


def point(offered: float, p99_s: float | None, **changes: object) -> Point:
    it = Point(
        offered=offered,
        goodput=offered,
        p50_s=0.001,
        p99_s=p99_s,
        errors=0,
        is_within_slo=p99_s is not None and p99_s <= SLO_S,
    )
    return replace(it, **changes)  # type: ignore[arg-type]


def result(*measurements: Measurement, **changes: object) -> BenchResult:
    it = BenchResult(
        bundle="bundles/eta",
        digest="sha256:" + 16 * "0a1b",
        machine=machine(),
        started_at="2026-11-21T22:00:00+00:00",
        seconds=61.5,
        slo_s=SLO_S,
        price_per_hour=3600.0,
        is_quick=False,
        measurements=measurements,
        parity=Parity(512, tuple({each.mode for each in measurements}), {}, ""),
    )
    return replace(it, **changes)  # type: ignore[arg-type]
