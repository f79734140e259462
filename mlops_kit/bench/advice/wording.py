"""Advice in words: the verdict, and the formulas with the numbers that were measured."""

from collections.abc import Iterator

from mlops_kit.bench.advice.advise import Advice
from mlops_kit.bench.advice.basis import MILLION
from mlops_kit.bench.advice.options import BATCH, CACHE, ONLINE, Option
from mlops_kit.bench.figures import figure, percent, seconds, size
from mlops_kit.bench.results import Estimate

DO = {
    BATCH: "Run batch: precompute for everybody, and look up",
    ONLINE: "Run online: predict when asked",
    CACHE: "Cache on first use: predict when asked for the first time, and look up after that",
}
FORMULAS = (
    "batch  = N·(b + w + 2g) + N·s·k·l",
    "online = N·s·k·o",
    "cache  = N·s·k·l + N·s·(o + l + w + g)",
    "batch is the cheapest from s = (b + w + 2g) / min(k·(o - l), o + l + w + g)",
    "cache is cheaper than online from k = (o + l + w + g) / (o - l)",
)


def verdict(advice: Advice) -> str:
    """One sentence or two."""
    if advice.choice is None:
        nearest = min(advice.options, key=lambda option: option.latency_s or float("inf"))
        latency_s = nearest.latency_s
        told = (
            f" The nearest is {nearest.strategy}: {seconds(latency_s)} at {nearest.percentile}."
            if latency_s
            else ""
        )
        problems = "; ".join(f"{option.strategy} is {option.problem}" for option in advice.options)
        return f"None of the measured modes gives what is needed: {problems}.{told}"
    best, *others = advice.options
    compared = "; ".join(_compared(best, other) for other in others)
    return f"{DO[advice.choice]}." + (f" {compared[0].upper()}{compared[1:]}." if compared else "")


def _compared(best: Option, other: Option) -> str:
    if other.problem or not (other.cost and best.cost):
        return f"{other.strategy} is {other.problem}" if other.problem else f"{other.strategy} is not known"
    if not best.cost.value:
        return f"{other.strategy} costs {figure(other.cost.value)} and this nothing"
    times = other.cost.value / best.cost.value
    more = f"{figure(times)} times as much" if times >= 2 else f"{percent(times - 1)} more"
    return f"{other.strategy} costs {more}"


def traffic(advice: Advice) -> str:
    """Who asks, in words."""
    workload = advice.workload
    return (
        f"{percent(workload.active_share)} of {workload.entities:,} entities show up in "
        f"{seconds(workload.refresh_s)}, with {figure(workload.requests_per_active)} requests each: "
        f"{figure(workload.requests)} requests. {percent(1 - workload.active_share)} of what is precomputed "
        "is never asked for."
    )


def break_even(advice: Advice) -> str:
    """At which coverage the choice changes, and at how many requests."""
    told = []
    if advice.is_possible(BATCH, ONLINE):
        told.append(
            "Precomputing for everybody never is the cheapest, not even if all of them show up."
            if advice.coverage is None
            else f"Precomputing for everybody is the cheapest from a coverage of {percent(advice.coverage)} on."
        )
    if advice.is_possible(ONLINE, CACHE):
        told.append(
            "A look-up costs as much as a prediction, so that a cache never pays."
            if advice.repeats is None
            else f"A cache costs less than online from {figure(advice.repeats)} requests per active entity on."
        )
    return " ".join(told) or "There is no break-even: fewer than two strategies are possible."


def inputs(advice: Advice) -> Iterator[tuple[str, str, str]]:
    """Letter, meaning, value: first what was measured and said, then what a row or a request costs by that."""
    given, unit, workload = advice.inputs, advice.unit, advice.workload
    yield "N", "entities", f"{workload.entities:,}"
    yield "s", "share that shows up until the next refresh", percent(workload.active_share)
    yield "k", "requests of each of them", figure(workload.requests_per_active)
    stored = given.stored_bytes_per_row
    kept = "not measured" if stored is None else f"{size(stored)} per row"
    yield "", "storage", f"{kept}, at {figure(workload.storage_price)} per GB and month"
    yield (
        "",
        "one machine",
        f"{figure(given.price_per_hour)} per hour; servers use {percent(workload.utilisation)}",
    )
    yield (
        "b",
        f"precomputing and storing a row, at {_rate(given.precomputed_rows_per_s)}",
        _million(unit.precompute),
    )
    yield "w", "what the store charges for writing it", _million(unit.write)
    yield "g", "keeping it until the next refresh", _million(unit.keep)
    yield "l", f"one look-up, at {_rate(given.lookups_per_s)} by one client", _million(unit.lookup)
    yield (
        "o",
        f"one prediction when asked, at {_rate(given.predictions_per_s)} by one worker",
        _million(unit.online),
    )


def _million(cost: float) -> str:
    return f"{figure(cost * MILLION)} per million"


def _rate(rate: Estimate | None) -> str:
    return f"{figure(rate.value)}/s" if rate else "an unknown rate"


def describe_option(option: Option) -> tuple[str, ...]:
    """Cells: strategy, modes, cost, its interval, cost of a million requests, latency."""
    cost = option.cost
    latency = f"{seconds(option.latency_s)} ({option.percentile})" if option.latency_s is not None else "–"
    return (
        option.strategy,
        " + ".join(option.modes),
        figure(cost.value) if cost else "–",
        f"{figure(cost.low)} to {figure(cost.high)}" if cost and cost.low < cost.high else "–",
        figure(cost.per_million) if cost else "–",
        latency,
    )


OPTION_HEADS = ("strategy", "measured", "cost per refresh", "interval", "per million requests", "latency")
