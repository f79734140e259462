"""Which strategy to run, how sure that is, and what it rests on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from mlops_kit.bench.advice.basis import Basis, find_basis
from mlops_kit.bench.advice.costs import UnitCosts, break_even_coverage, break_even_requests
from mlops_kit.bench.advice.options import BATCH, CACHE, ONLINE, Option, list_options
from mlops_kit.bench.advice.workload import Workload
from mlops_kit.bench.figures import percent, seconds
from mlops_kit.bench.results import BenchResult, Estimate

SCHEMA: Final = 1

LONG = 0.01
"""A run of so much of a refresh is worth a word."""

CLOSE = 1.25
"""Shares and prices are rarely known better than that."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was measured of the store and the server; None where it was not, or is not within the budget."""

    price_per_hour: float
    precomputed_rows_per_s: Estimate | None
    stored_bytes_per_row: float | None
    lookups_per_s: Estimate | None
    predictions_per_s: Estimate | None


@dataclass(frozen=True, slots=True)
class Advice:
    """- `choice`: "batch", "online" or "cache"; None if nothing meets what is needed.
    - `options`: possible ones first, the cheapest first.
    - `coverage`: the share of entities from which on precomputing for everybody is the cheapest; `repeats`: how
      often an active entity must ask until a cache is cheaper than online. None if never, and where one of the two
      that are compared is out of the question.
    - `close`: why it may be otherwise; empty if it is clear.
    - `notes`: what it does not take into account.
    """

    choice: str | None
    options: tuple[Option, ...]
    coverage: float | None
    repeats: float | None
    close: tuple[str, ...]
    notes: tuple[str, ...]
    workload: Workload
    unit: UnitCosts
    inputs: Inputs
    schema: int = SCHEMA

    def is_possible(self, *strategies: str) -> bool:
        """Whether all of them were measured and nothing speaks against them."""
        possible = {option.strategy for option in self.options if not option.problem}
        return possible.issuperset(strategies)


def advise(result: BenchResult, workload: Workload) -> Advice:
    """Raises UsageError if the bench has measured nothing that answers requests."""
    basis = find_basis(result, workload)
    options = list_options(workload, basis)
    advice = Advice(
        choice=_choice(options),
        options=options,
        coverage=None,
        repeats=None,
        close=(*_near(options), *_with_all_cores(result, workload, basis)),
        notes=tuple(_notes(result, workload, basis)),
        workload=workload,
        unit=basis.unit,
        inputs=_inputs(result, basis),
    )
    return _with_break_even(advice)


def _with_break_even(advice: Advice) -> Advice:
    with_cache = advice.is_possible(ONLINE, CACHE)
    if advice.is_possible(BATCH, ONLINE):
        requests = advice.workload.requests_per_active
        coverage = break_even_coverage(advice.unit, requests, with_cache=with_cache)
        advice = replace(advice, coverage=coverage)
    return replace(advice, repeats=break_even_requests(advice.unit)) if with_cache else advice


def _inputs(result: BenchResult, basis: Basis) -> Inputs:
    store, door = basis.store, basis.door
    return Inputs(
        price_per_hour=result.price_per_hour,
        precomputed_rows_per_s=store.rows_per_s if store else None,
        stored_bytes_per_row=store.bytes_per_row if store else None,
        lookups_per_s=store.lookup.rate if store else None,
        predictions_per_s=door.rate if door else None,
    )


def _choice(options: tuple[Option, ...]) -> str | None:
    return options[0].strategy if not options[0].problem else None


def _near(options: tuple[Option, ...]) -> Iterator[str]:
    """Others that cost little more, or that may cost less, going by the measured intervals."""
    costs = {option.strategy: option.cost for option in options if option.cost and not option.problem}
    if not costs:
        return
    (_, best), *others = costs.items()
    for strategy, cost in others:
        if cost.value <= CLOSE * best.value:
            more = (cost.value / best.value - 1) * 100 if best.value else 0
            yield f"{strategy} costs only {more:.0f} % more"
        elif cost.low < best.high:
            yield f"{strategy} may cost less: the measured intervals overlap"


def _with_all_cores(result: BenchResult, workload: Workload, basis: Basis) -> Iterator[str]:
    """A batch job uses every core; a server was measured with one worker, and a look-up with one client."""
    cores, unit = result.machine.cores, basis.unit
    spread = replace(basis, unit=replace(unit, lookup=unit.lookup / cores, online=unit.online / cores))
    choice = _choice(list_options(workload, spread))
    if choice != _choice(list_options(workload, basis)):
        yield (
            f"servers were measured with one worker; if one for each of the {cores} cores were {cores} times as "
            f"fast, {choice} would be the cheapest"
        )


def _notes(result: BenchResult, workload: Workload, basis: Basis) -> Iterator[str]:
    if result.is_quick:
        yield "it rests on a quick run, measured once: measure longer before it costs money"
    store, door = basis.store, basis.door
    if result.machine.cores > 1:
        yield (
            f"a server was measured with one worker, and look-ups with one client; a batch job uses all "
            f"{result.machine.cores} cores"
        )
    if store is None:
        yield "without batch and cache: the bench has measured no store (--mode batch,lookup)"
    else:
        yield from _store_notes(workload, basis)
    if door is None:
        yield "without online and cache: the bench has measured no server (--mode online)"
    elif door.rate:
        share = workload.requests / workload.refresh_s / (door.rate.value * workload.utilisation)
        if share < 1:
            yield (
                f"online needs {percent(share)} of one machine. Its whole price is paid all the same if nothing "
                "else runs on it; but look-ups need a machine that stands by, too"
            )


def _store_notes(workload: Workload, basis: Basis) -> Iterator[str]:
    store = basis.store
    if store is None:
        return
    if not store.has_writes:
        yield f"writing into {store.lookup.mode} was not measured: the batch job's time is that into files"
    if store.bytes_per_row is None:
        yield "what a stored row takes was not measured: storage counts nothing"
    run_s = workload.entities / store.rows_per_s.value
    is_long = run_s > LONG * workload.refresh_s
    if is_long and workload.refresh_s <= workload.freshness_s < workload.refresh_s + run_s:
        yield f"a run takes {seconds(run_s)}, for which the former predictions are older than what is needed"
