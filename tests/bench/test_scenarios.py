"""Whole scenarios on servers with a planted speed."""

from collections.abc import Iterator

import numpy as np
import pytest

from mlops_kit.bench.interface import Scored, StageSums
from mlops_kit.bench.load.http import HttpTarget
from mlops_kit.bench.load.interface import LoadResult
from mlops_kit.bench.load.processes import LoadProcess, load_process
from mlops_kit.bench.plan import Plan, plan_of
from mlops_kit.bench.scenarios.closed import ClosedScenario
from mlops_kit.bench.scenarios.repetition import Repetition, stages_of
from mlops_kit.bench.scenarios.server import ServerScenario
from mlops_kit.bench.summary import summarise
from tests.bench.agreement import agrees
from tests.bench.planted import Refusing, Sleeping, planted

PLAN = Plan(rounds=3, closed_s=0.2, offline_s=1, point_s=1.5, slo_s=0.2, resolution=1.03)


class PlantedMode:
    """Asks a planted server, whose stages are made up."""

    scenarios = ("single-stream", "server")

    def __init__(self, target: HttpTarget) -> None:
        self._target = target

    def answers(self) -> dict[str, "np.ndarray[tuple[int], np.dtype[np.float64]]"]:
        return {}

    def target(self, rows: int) -> HttpTarget:
        return self._target

    def stage_sums(self) -> StageSums:
        return StageSums(0, {})

    def peak_memory(self) -> int | None:
        return 1000

    def score(self, seconds: float) -> Scored:
        return Scored(0, seconds, 0)


@pytest.fixture(scope="module")
def client() -> Iterator[LoadProcess]:
    with load_process() as process:
        yield process


def test_single_stream_asks_until_its_percentile_is_supported(client: LoadProcess) -> None:
    with planted(Sleeping(0.03)) as target:
        found = ClosedScenario(client, PlantedMode(target), PLAN, 1, "p90").measure(0)
    assert len(found.latencies_s) >= 44
    assert found.latencies_s.min() > 0.0299


def test_the_server_scenario_finds_a_planted_limit(client: LoadProcess) -> None:
    with planted(Refusing(per_s=1000, burst=25)) as target:
        scenario = ServerScenario(client, PlantedMode(target), PLAN, start=700)
        found: list[Repetition] = []

        def measure() -> list[float]:
            found.append(scenario.measure(len(found)))
            return [found[-1].rate]

        assert agrees(measure, [1000], within=0.05)
    points = found[-1].points
    assert any(point.is_within_slo for point in points)
    assert all(point.errors for point in points if point.offered > 1200)
    assert all(point.p99_s is None for point in points if point.errors > 0.02 * point.offered * PLAN.point_s)


def test_a_rate_is_tried_for_twenty_objectives_at_least() -> None:
    assert plan_of(3, slo_s=0.5).point_s == 10


def test_stages_add_up_to_the_mean_latency() -> None:
    load = LoadResult(np.array([0.0, 1.0]), np.array([0.1, 1.1]), np.array([0.6, 1.4]), {}, 2.0, 0.1)

    class Staged(PlantedMode):
        def stage_sums(self) -> StageSums:
            return StageSums(12, {"queue": 1.2, "model": 3.2})

    stages = stages_of(Staged(HttpTarget(0, [])), StageSums(10, {"queue": 1.0, "model": 3.0}), load)
    assert stages == pytest.approx({"send": 0.1, "queue": 0.1, "model": 0.1, "rest": 0.2})
    assert sum(stages.values()) == pytest.approx(load.latencies_s.mean())


@pytest.mark.parametrize(
    ("latencies", "cpu", "limit", "expected"),
    [
        ([0.01] * 500, 0.5, 10_000, ()),
        ([0.01] * 500, 0.95, 10_000, ("the load client used more than 90 % of its core: it may",)),
        ([0.01] * 500, 0.5, 600, ("the load client reaches little more where nothing",)),
        ([0.01] * 100, 0.5, None, ("no p99: it takes 459 answers in each repetition, and there were fewer",)),
        ([], 0.1, None, ("no p99",)),
    ],
)
def test_what_limits_a_claim_is_noted(
    latencies: list[float], cpu: float, limit: float | None, expected: tuple[str, ...]
) -> None:
    times = np.array(latencies)
    load = LoadResult(times * 0, times * 0, times, {}, 1.0, cpu)
    found = summarise("online-rest", "server", "p99", [Repetition(load.rate, load)] * 3, limit)
    assert len(found.notes) == len(expected)
    assert all(note.startswith(start) for note, start in zip(found.notes, expected, strict=True))


def test_failures_of_all_repetitions_are_counted_by_kind() -> None:
    times = np.array([0.01] * 500)
    loads = [
        LoadResult(times * 0, times * 0, times, errors, 1.0, 0.1)
        for errors in ({"timeout": 2}, {}, {"timeout": 1})
    ]
    found = summarise("online-rest", "server", "p99", [Repetition(x.rate, x) for x in loads], None)
    assert found.errors == {"timeout": 3}
