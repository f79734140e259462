"""What has changed between two results, or between two sets of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from mlops_kit.bench.comparison.machines import differences, version_changes
from mlops_kit.bench.comparison.significance import WORSE, Change, compare_samples
from mlops_kit.bench.results import BenchResult, Estimate, Measurement
from mlops_kit.errors import UsageError

SCHEMA: Final = 1
THRESHOLD = 0.05
SLOWEST = {"single-stream": "p90", "multi-stream": "p99"}
"""The percentile that a scenario is known for. The latency at the largest rate is about the objective, always."""

Cases = dict[tuple[str, str], Measurement]
"""Mode and scenario → measurement."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`metric`: "rate", "p50", "p90", "p99" or "memory"; rates are per second, latencies seconds, memory bytes."""

    mode: str
    scenario: str
    metric: str
    change: Change


@dataclass(frozen=True, slots=True)
class Comparison:
    """`notes`: what was left out, and what else differs."""

    threshold: float
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    schema: int = SCHEMA

    @property
    def regressions(self) -> tuple[Difference, ...]:
        """What is surely worse by more than the threshold."""
        return tuple(each for each in self.differences if each.change.verdict == WORSE)


def compare_results(
    before: Sequence[BenchResult],
    after: Sequence[BenchResult],
    threshold: float = THRESHOLD,
    *,
    with_other_machines: bool = False,
) -> Comparison:
    """One result has its repetitions. Of several, each is one repetition of everything: runs differ by more than
    what is repeated within one. Raises UsageError for results of different machines, if they are not wanted.
    """
    machines = _machine_notes(before, after, is_wanted=with_other_machines)
    found = list(_pairs(before, after))
    changes = [
        Difference(*case, metric, compare_samples(
            old, new, is_more_better=metric == "rate", threshold=threshold, comparisons=len(found)
        ))
        for case, metric, old, new in found
    ]  # fmt: skip
    if not changes:
        what = "the results have no scenario of a mode in common"
        raise UsageError(what, fix="measure both with the same --mode and --scenario")
    return Comparison(threshold, tuple(changes), (*machines, *_other_notes(before, after)))


def _machine_notes(before: Sequence[BenchResult], after: Sequence[BenchResult], *, is_wanted: bool) -> list[str]:
    first, *others = (result.machine for result in (*before, *after))
    found = list(dict.fromkeys(text for other in others for text in differences(first, other)))
    if found and not is_wanted:
        what = "the results are of different machines"
        raise UsageError(what, "; ".join(found), "measure both on one machine, or compare them with --force")
    return [f"different machines: {text}" for text in found]


def _pairs(
    before: Sequence[BenchResult], after: Sequence[BenchResult]
) -> Iterator[tuple[tuple[str, str], str, list[float], list[float]]]:
    """Case, metric, and the samples of both."""
    olds, news = ([_cases(result) for result in results] for results in (before, after))
    has_same_objective = len({result.slo_s for result in (*before, *after)}) == 1
    # A server goes through all of its scenarios, and its peak is the last one's.
    heaviest = set(dict(iter(olds[0])).items())
    for case in olds[0]:
        if not all(case in cases for cases in (*olds, *news)):
            continue
        if case[1] == "server" and not has_same_objective:
            continue
        for metric in ("rate", "p50", SLOWEST.get(case[1], ""), "memory" if case in heaviest else ""):
            sides = [[_metric(cases[case], metric) for cases in side] for side in (olds, news)]
            if metric and all(sides[0]) and all(sides[1]):
                old, new = (_samples([each for each in side if each]) for side in sides)
                yield case, metric, old, new


def _cases(result: BenchResult) -> Cases:
    return {(each.mode, each.scenario): each for each in result.measurements}


def _metric(measurement: Measurement, metric: str) -> Estimate | None:
    if metric == "rate":
        return measurement.rate
    if metric == "memory":
        return _memory(measurement)
    if measurement.scenario not in SLOWEST or measurement.latency is None:
        return None
    return measurement.latency.percentiles.get(metric)


def _are_in_turns(before: Sequence[BenchResult], after: Sequence[BenchResult]) -> bool:
    olds, news = (sorted(result.started_at for result in results) for results in (before, after))
    return olds[0] < news[-1] and news[0] < olds[-1]


def _memory(measurement: Measurement) -> Estimate | None:
    peaks = sorted(map(float, measurement.peak_memory_samples))
    return Estimate(median(peaks), peaks[0], peaks[-1], tuple(peaks)) if peaks else None


def _samples(estimates: Sequence[Estimate]) -> list[float]:
    return list(estimates[0].samples) if len(estimates) == 1 else [each.value for each in estimates]


def _other_notes(before: Sequence[BenchResult], after: Sequence[BenchResult]) -> Iterator[str]:
    old, new = before[0], after[0]
    yield from (f"versions: {text}" for text in version_changes(old.machine, new.machine))
    if old.digest != new.digest:
        yield "the bundles are different models"
    if old.slo_s != new.slo_s:
        yield "server is left out: the latency objectives differ"
    if any(result.is_quick for result in (*before, *after)):
        yield "quick runs measure once: compare at least three of each, in turns, in two folders"
    elif len(before) == len(after) == 1:
        yield (
            "one run of each: what changed on the machine between them counts as a difference. Better: several of "
            "each, in turns, in two folders"
        )
    elif not _are_in_turns(before, after):
        yield (
            "the one was measured before the other, and not in turns: what changed on the machine between them "
            "counts as a difference"
        )
    for case in sorted(_cases(old).keys() ^ _cases(new).keys()):
        yield f"{', '.join(case)}: only in the {'first' if case in _cases(old) else 'second'}"
    for name, count in new.parity.mismatches.items():
        if count and not old.parity.mismatches.get(name):
            yield f"{name} gives other answers in the second, for {count:,} rows"
