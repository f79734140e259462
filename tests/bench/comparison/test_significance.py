import numpy as np
import pytest

from mlops_kit.bench.comparison.significance import compare_samples

TRIALS = 400


def verdict(
    before: list[float], after: list[float], *, is_more_better: bool = True, threshold: float = 0.05
) -> str:
    return compare_samples(before, after, is_more_better=is_more_better, threshold=threshold).verdict


@pytest.mark.parametrize(
    ("after", "is_more_better", "wanted"),
    [
        ([90, 91, 89], True, "worse"),
        ([110, 111, 109], True, "better"),
        ([110, 111, 109], False, "worse"),
        ([90, 91, 89], False, "better"),
        ([100, 101, 99], True, "same"),
        ([98, 99, 97], True, "same"),
        # Surely lower, but not surely by more than the threshold.
        ([95, 95.5, 94.5], True, "unclear"),
        ([80, 100, 101], True, "unclear"),
        ([70], True, "unclear"),
        ([0, 0, 0], True, "worse"),
    ],
)
def test_verdicts(after: list[float], is_more_better: bool, wanted: str) -> None:
    assert verdict([100, 101, 99], after, is_more_better=is_more_better) == wanted


def test_something_instead_of_nothing_is_better_and_nothing_instead_of_nothing_is_the_same() -> None:
    assert verdict([0, 0, 0], [5, 6, 7]) == "better"
    assert verdict([0, 0, 0], [0, 0, 0]) == "same"


def alarms(spread: float, repetitions: int, worse_by: float = 0.0) -> float:
    """The share of trials that end in a regression."""
    random = np.random.default_rng(7)
    found = 0
    for _ in range(TRIALS):
        before, after = np.exp(random.normal(0, spread, (2, repetitions)))
        found += verdict(before.tolist(), (after * (1 - worse_by)).tolist()) == "worse"
    return found / TRIALS


@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_noise_alone_raises_few_alarms(spread: float) -> None:
    # At most 1 of 20 by the order of six values; 400 trials of that are above 7.5 % in 1 of 100 series.
    assert alarms(spread, repetitions=3) <= 0.075


def test_noise_alone_hardly_raises_alarms_with_more_repetitions() -> None:
    assert alarms(0.1, repetitions=6) <= 0.02


def test_a_loss_well_above_the_noise_is_found() -> None:
    assert alarms(0.01, repetitions=3, worse_by=0.12) >= 0.95


def test_the_interval_has_the_true_change_in_it() -> None:
    random = np.random.default_rng(3)
    inside = 0
    for _ in range(TRIALS):
        before, after = np.exp(random.normal(0, 0.05, (2, 8)))
        change = compare_samples(before.tolist(), (after * 1.3).tolist(), is_more_better=True, threshold=0.05)
        assert change.low is not None
        assert change.high is not None
        inside += change.low <= 0.3 <= change.high
    assert inside / TRIALS >= 0.9
