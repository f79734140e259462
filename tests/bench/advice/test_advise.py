from dataclasses import replace

import pytest

from mlops_kit.bench.advice.advise import Advice, advise
from mlops_kit.bench.advice.wording import break_even, inputs, traffic, verdict
from mlops_kit.bench.advice.workload import Workload
from mlops_kit.bench.results import BenchResult
from mlops_kit.errors import UsageError
from tests.bench.results import latency, machine, measured, point, result

DAY_S = 86_400.0
MONTH_DAYS = 365.25 / 12


def bench(rows: float, lookups: float, predictions: float, stored_bytes: float = 0.0) -> BenchResult:
    """One machine second costs 1."""
    return result(
        measured("lookup", "offline", rows, stored_bytes_per_row=stored_bytes),
        measured("lookup", "server", lookups),
        measured("online-rest", "server", predictions),
    )


def workload(**changes: float) -> Workload:
    usual = Workload(
        entities=1_000_000,
        active_share=0.02,
        requests_per_active=1,
        refresh_s=DAY_S,
        freshness_s=DAY_S,
        latency_s=0.1,
        utilisation=1.0,
        storage_price=0.0,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


# b = 1/10,000, l = 1/10,000, o = 1/1,000 where nothing else is said.
USUAL = bench(rows=10_000, lookups=10_000, predictions=1_000)
STORED = bench(10_000, 10_000, 1_000, stored_bytes=1000)
# A kilobyte for a day is then 0.00005.
KEEP_PRICE = 0.00005 * 1e6 * MONTH_DAYS


@pytest.mark.parametrize(
    ("measurements", "changes", "break_even", "below"),
    [
        # b / (o - l) = 0.0001 / 0.0009
        (USUAL, {}, 1 / 9, "online"),
        # At ten requests each, only the first is what batch saves: b / (o + l) = 0.0001 / 0.0011
        (USUAL, {"requests_per_active": 10}, 1 / 11, "cache"),
        # (b + 2g) / (o + l + g) = 0.0002 / 0.00115
        (STORED, {"requests_per_active": 10, "storage_price": KEEP_PRICE}, 4 / 23, "cache"),
        # (b + w) / (o - l) = 0.0002 / 0.0009
        (USUAL, {"write_price": 100}, 2 / 9, "online"),
        # Servers that stand by half of the time cost twice as much: 0.0001 / 0.0018
        (USUAL, {"utilisation": 0.5}, 1 / 18, "online"),
        # A slow model, which batch does no faster: 0.02 / (0.025 - 0.0001)
        (bench(rows=50, lookups=10_000, predictions=40), {"entities": 10_000}, 0.02 / 0.0249, "online"),
        # Half the requests again: 0.0001 / (1.5 * 0.0009 = 0.00135, or 0.0011)
        (USUAL, {"requests_per_active": 1.5}, 1 / 11, "cache"),
    ],
)
def test_the_advice_flips_at_the_coverage_computed_by_hand(
    measurements: BenchResult, changes: dict[str, float], break_even: float, below: str
) -> None:
    def at(share: float) -> Advice:
        return advise(measurements, workload(**changes, active_share=share))

    assert at(0.5).coverage == pytest.approx(break_even)
    assert at(break_even * 0.999).choice == below
    assert at(break_even * 1.001).choice == "batch"


@pytest.mark.parametrize(
    ("lookups", "predictions", "repeats"),
    [
        (10_000, 1_000, 0.0011 / 0.0009),
        (4_000, 1_000, 0.00125 / 0.00075),
        (1_000, 500, 0.003 / 0.001),
    ],
)
def test_the_advice_flips_at_the_requests_computed_by_hand(
    lookups: float, predictions: float, repeats: float
) -> None:
    def at(requests: float) -> Advice:
        measurements = bench(rows=10_000, lookups=lookups, predictions=predictions)
        return advise(measurements, workload(active_share=0.01, requests_per_active=requests))

    assert at(1).repeats == pytest.approx(repeats)
    assert at(repeats * 0.999).choice == "online"
    assert at(repeats * 1.001).choice == "cache"


def test_what_is_looked_up_no_faster_than_predicted_is_never_stored() -> None:
    advice = advise(bench(rows=1e9, lookups=1_000, predictions=1_000), workload(active_share=1.0))
    assert (advice.choice, advice.coverage, advice.repeats) == ("online", None, None)


def test_money_is_that_of_the_price_for_an_hour() -> None:
    online = advise(replace(USUAL, price_per_hour=0.36), workload()).options[0]
    # 20,000 requests at 1,000/s are 20 s, at 0.0001 each.
    assert online.cost
    assert online.cost.value == pytest.approx(0.002)
    assert online.cost.per_million == pytest.approx(0.1)


def test_answers_that_must_be_fresher_than_a_refresh_are_not_stored() -> None:
    advice = advise(USUAL, workload(active_share=1.0, freshness_s=60))
    assert advice.choice == "online"
    problems = {option.strategy: option.problem for option in advice.options}
    assert "too old" in problems["batch"]
    assert "too old" in problems["cache"]


def test_a_batch_that_takes_longer_than_a_refresh_is_out() -> None:
    advice = advise(USUAL, workload(active_share=1.0, refresh_s=10, freshness_s=10))
    (batch,) = (option for option in advice.options if option.strategy == "batch")
    assert batch.problem == "too slow: one machine takes 10 refreshes for everybody"


def with_points(mode: str, *points: tuple[float, float]) -> BenchResult:
    tried = tuple(point(rate, p99_s) for rate, p99_s in points)
    slow = measured(mode, "server", 1_000, points=tried, latency=latency(p99=0.09))
    others = [each for each in USUAL.measurements if (each.mode, each.scenario) != (mode, "server")]
    return replace(USUAL, measurements=(*others, slow))


def test_a_tighter_budget_than_was_measured_for_takes_the_rate_that_met_it() -> None:
    tried = with_points("online-rest", (100, 0.002), (400, 0.02), (1_000, 0.09))
    rate = advise(tried, workload(latency_s=0.03)).inputs.predictions_per_s
    assert rate
    assert rate.value == 400


def test_a_rate_above_one_that_was_too_late_is_not_trusted() -> None:
    tried = with_points("online-rest", (100, 0.002), (400, 0.05), (500, 0.02))
    rate = advise(tried, workload(latency_s=0.03)).inputs.predictions_per_s
    assert rate
    assert rate.value == 100


def test_when_no_mode_meets_the_budget_it_says_so_and_which_is_nearest() -> None:
    slow = result(
        measured("lookup", "offline", 10_000.0),
        measured("lookup", "server", 1_000, points=(point(10, 0.03),), latency=latency(p99=0.09)),
        measured("online-rest", "server", 1_000, points=(point(10, 0.02),), latency=latency(p99=0.09)),
    )
    advice = advise(slow, workload(latency_s=0.01))
    assert advice.choice is None
    assert verdict(advice).startswith("None of the measured modes gives what is needed: ")
    assert "batch is too late: at no measured rate does lookup answer 99 % within 10 ms" in verdict(advice)
    assert verdict(advice).endswith("The nearest is online: 20 ms at p99.")
    assert "no break-even" in break_even(advice)


def test_a_cache_that_misses_has_half_of_the_budget_for_each_step() -> None:
    tried = with_points("online-rest", (100, 0.03), (1_000, 0.05))
    many = {"requests_per_active": 50.0, "active_share": 0.001}
    assert advise(tried, workload(latency_s=0.08, **many)).choice == "cache"
    # 30 ms are within the budget, but not within half of it.
    assert advise(tried, workload(latency_s=0.05, **many)).choice == "online"


def test_the_break_even_leaves_out_a_cache_that_is_too_late() -> None:
    tried = with_points("online-rest", (100, 0.03), (1_000, 0.05))
    advice = advise(tried, workload(latency_s=0.05, requests_per_active=10))
    # b / (10 * (o - l)), not b / (o + l)
    assert advice.coverage == pytest.approx(0.0001 / 0.009)
    assert advice.repeats is None


def test_two_costs_that_are_near_each_other_are_called_close() -> None:
    assert advise(USUAL, workload(active_share=0.12)).close == ("online costs only 7 % more",)
    assert advise(USUAL, workload(active_share=0.9)).close == ()


def test_intervals_that_overlap_are_called_close() -> None:
    noisy = result(
        measured("lookup", "offline", 5_000, 10_000, 20_000),
        measured("lookup", "server", 10_000),
        measured("online-rest", "server", 400, 1_000, 1_500),
    )
    advice = advise(noisy, workload(active_share=0.05))
    assert advice.choice == "online"
    assert "batch may cost less: the measured intervals overlap" in advice.close


def test_a_choice_that_more_workers_would_change_is_called_close() -> None:
    two_cores = replace(USUAL, machine=machine(cores=4))
    (reason,) = advise(two_cores, workload(active_share=0.2)).close
    assert "each of the 4 cores" in reason
    assert reason.endswith("online would be the cheapest")


def test_it_says_that_servers_had_one_worker() -> None:
    assert any("one worker" in note for note in advise(replace(USUAL, machine=machine(cores=4)), workload()).notes)
    meanings = [meaning for _, meaning, _ in inputs(advise(USUAL, workload()))]
    assert "one prediction when asked, at 1,000/s by one worker" in meanings


def test_the_fastest_server_and_the_cheapest_store_are_taken() -> None:
    more = replace(
        USUAL,
        measurements=(
            *USUAL.measurements,
            measured("online-grpc", "server", 1_200),
            measured("lookup-redis", "offline", 8_000),
            measured("lookup-redis", "server", 40_000),
        ),
    )
    options = {option.strategy: option.modes for option in advise(more, workload(active_share=1.0)).options}
    assert options["online"] == ("online-grpc",)
    assert options["batch"] == ("lookup-redis",)


def test_a_store_that_was_not_filled_takes_the_time_of_files_and_says_so() -> None:
    files = result(measured("batch", "offline", 10_000), *USUAL.measurements[1:])
    advice = advise(files, workload())
    assert advice.coverage == pytest.approx(1 / 9)
    assert any("was not measured" in note for note in advice.notes)


@pytest.mark.parametrize(
    ("mode", "missing"), [("lookup", "without online and cache"), ("online-rest", "without batch and cache")]
)
def test_what_was_not_measured_is_told(mode: str, missing: str) -> None:
    some = replace(USUAL, measurements=tuple(each for each in USUAL.measurements if each.mode == mode))
    advice = advise(some, workload())
    assert len(advice.options) == 1
    assert any(missing in note for note in advice.notes)
    assert break_even(advice) == "There is no break-even: fewer than two strategies are possible."


def test_one_request_after_the_other_is_better_than_nothing() -> None:
    alone = measured("online-rest", "single-stream", 900, latency=latency(p50=0.001, p90=0.002))
    advice = advise(result(alone), workload())
    assert advice.options[0].percentile == "p90"
    assert advise(result(alone), workload(latency_s=0.001)).choice is None


def test_a_bench_of_files_alone_cannot_advise() -> None:
    with pytest.raises(UsageError, match="no mode that answers requests"):
        advise(result(measured("batch", "offline", 10_000)), workload())


def test_the_wording_names_what_is_wasted() -> None:
    advice = advise(USUAL, workload(requests_per_active=3, active_share=0.02))
    # cache 6 + 22, online 60, batch 100 + 6
    assert verdict(advice) == (
        "Cache on first use: predict when asked for the first time, and look up after that. "
        "Online costs 2.14 times as much; batch costs 3.79 times as much."
    )
    assert "98 % of what is precomputed is never asked for." in traffic(advice)
    assert break_even(advice) == (
        "Precomputing for everybody is the cheapest from a coverage of 9.09 % on. "
        "A cache costs less than online from 1.22 requests per active entity on."
    )
