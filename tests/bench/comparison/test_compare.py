from dataclasses import replace
from typing import Any

import pytest

from mlops_kit.bench.comparison.compare import Comparison, compare_results
from mlops_kit.bench.results import BenchResult, Distribution, Parity
from mlops_kit.errors import UsageError
from tests.bench.results import estimate, latency, machine, measured, result


def near(value: float) -> tuple[float, float, float]:
    """Three repetitions with one per cent of noise."""
    return value, value * 1.01, value * 0.99


def latencies(**percentiles: float) -> Distribution:
    each = {name: estimate(*near(value)) for name, value in percentiles.items()}
    return replace(latency(), percentiles=each)


def bench(rate: float = 1000.0, p50: float = 0.001, p90: float = 0.002, **changes: Any) -> BenchResult:
    return result(
        measured("batch", "offline", *near(rate)),
        measured("online-rest", "single-stream", *near(900), latency=latencies(p50=p50, p90=p90, p99=0.02)),
        measured("online-rest", "server", *near(5000), latency=latencies(p50=0.05, p99=0.09)),
        **changes,
    )


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {f"{each.mode} {each.scenario} {each.metric}": each.change.verdict for each in comparison.differences}


def test_every_scenario_is_compared_by_what_it_is_known_for() -> None:
    assert verdicts(compare_results([bench()], [bench()])) == {
        "batch offline rate": "same",
        "online-rest single-stream rate": "same",
        "online-rest single-stream p50": "same",
        "online-rest single-stream p90": "same",
        "online-rest server rate": "same",
    }


@pytest.mark.parametrize(
    ("changes", "worse"),
    [
        ({"rate": 850.0}, "batch offline rate"),
        ({"p50": 0.0012}, "online-rest single-stream p50"),
        ({"p90": 0.0024}, "online-rest single-stream p90"),
    ],
)
def test_a_planted_regression_is_found_and_nothing_else(changes: dict[str, float], worse: str) -> None:
    comparison = compare_results([bench()], [bench(**changes)])
    assert [name for name, verdict in verdicts(comparison).items() if verdict == "worse"] == [worse]
    assert len(comparison.regressions) == 1
    # The other way round it is an improvement.
    assert compare_results([bench(**changes)], [bench()]).regressions == ()


def weighing(batch: tuple[int, ...], server: tuple[int, ...]) -> BenchResult:
    return result(
        measured("batch", "offline", *near(100), peak_memory_samples=batch),
        measured("online-rest", "single-stream", *near(100), peak_memory_samples=(1,)),
        measured("online-rest", "server", *near(100), peak_memory_samples=server),
    )


def test_more_memory_is_worse_and_a_server_has_one_peak() -> None:
    before, after = weighing((100, 101, 99), (100,)), weighing((120, 121, 119), (120,))
    once = verdicts(compare_results([before], [after]))
    assert {name: verdict for name, verdict in once.items() if "memory" in name} == {
        "batch offline memory": "worse",
        "online-rest server memory": "unclear",
    }
    in_turns = verdicts(compare_results([before] * 3, [after] * 3))
    assert in_turns["online-rest server memory"] == "worse"
    assert verdicts(compare_results([after] * 3, [before] * 3))["online-rest server memory"] == "better"


def test_a_regression_within_the_threshold_is_none() -> None:
    assert compare_results([bench()], [bench(rate=850.0)], threshold=0.2).regressions == ()


@pytest.mark.parametrize(
    "other", [{"cpu": "Another"}, {"cores": 2}, {"memory_bytes": 1}, {"limits": {"memory, bytes": "512"}}]
)
def test_other_machines_are_refused_unless_they_are_wanted(other: dict[str, Any]) -> None:
    elsewhere = bench(machine=machine(**other))
    with pytest.raises(UsageError, match="--force"):
        compare_results([bench()], [elsewhere])
    comparison = compare_results([bench()], [elsewhere], with_other_machines=True)
    assert any(note.startswith("different machines") for note in comparison.notes)


def test_other_versions_and_another_load_are_the_same_machine() -> None:
    later = bench(machine=machine(versions={"python": "3.12.0"}, load_average=3.0))
    notes = compare_results([bench()], [later]).notes
    assert "versions: python: 3.11.9 and 3.12.0" in notes


def test_of_several_runs_each_is_one_repetition() -> None:
    # Runs differ by more than the repetitions within them, which alone would look like a sure loss.
    before = [bench(rate=rate) for rate in (1000.0, 800.0, 1100.0)]
    after = [bench(rate=rate) for rate in (790.0, 1050.0, 900.0)]
    assert compare_results(before[:1], after[:1]).regressions
    assert not compare_results(before, after).regressions


@pytest.mark.parametrize(
    ("before", "after", "in_turns"),
    [("13", "24", True), ("14", "23", True), ("12", "34", False), ("34", "12", False)],
)
def test_runs_that_were_not_in_turns_are_told(before: str, after: str, in_turns: bool) -> None:
    sides = [
        [bench(started_at=f"2026-11-21T22:0{minute}:00+00:00") for minute in side] for side in (before, after)
    ]
    notes = compare_results(*sides).notes
    assert any("not in turns" in note for note in notes) != in_turns


def test_quick_runs_have_no_verdict() -> None:
    quick = result(measured("batch", "offline", 1000.0), is_quick=True)
    slow = result(measured("batch", "offline", 500.0), is_quick=True)
    comparison = compare_results([quick], [slow])
    assert set(verdicts(comparison).values()) == {"unclear"}
    assert any("quick" in note for note in comparison.notes)


def test_what_only_one_has_is_told() -> None:
    other = result(*bench().measurements[1:])
    comparison = compare_results([bench()], [other])
    assert "batch, offline: only in the first" in comparison.notes


def test_server_rates_under_different_objectives_are_left_out() -> None:
    comparison = compare_results([bench()], [bench(slo_s=0.5)])
    assert not any("server" in name for name in verdicts(comparison))
    assert any("server is left out" in note for note in comparison.notes)


def test_other_models_and_other_answers_are_told() -> None:
    wrong = bench(digest="sha256:other", parity=Parity(512, ("batch",), {"batch": 3}, "row 1"))
    notes = compare_results([bench()], [wrong]).notes
    assert "the bundles are different models" in notes
    assert "batch gives other answers in the second, for 3 rows" in notes


def test_nothing_in_common_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="in common"):
        compare_results([bench()], [result(measured("edge", "offline", *near(1)))])
