"""A bench from beginning to end."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from mlops_kit.bench.answers import compare_answers
from mlops_kit.bench.available import check_scenarios, choose_modes
from mlops_kit.bench.caretaker import caretaker
from mlops_kit.bench.interface import SERVER, RunningMode, Subject
from mlops_kit.bench.job import BenchJob, Notify
from mlops_kit.bench.load.interface import Closed, ServerTarget
from mlops_kit.bench.load.processes import LoadProcess, load_process, null_server
from mlops_kit.bench.machine import describe_machine
from mlops_kit.bench.plan import Plan, plan_of, quick_plan
from mlops_kit.bench.results import BenchResult, Measurement, Parity
from mlops_kit.bench.rows import choose_rows
from mlops_kit.bench.scenarios.make import make_scenario
from mlops_kit.bench.scenarios.repetition import Repetition, Scenario
from mlops_kit.bench.summary import summarise
from mlops_kit.bundle.bundle import Bundle
from mlops_kit.bundle.locate import load_bundle
from mlops_kit.errors import MissingColumnsError, UsageError
from mlops_kit.frames import columns_of, read_frame
from mlops_kit.predictor import Predictor

NULL_CONNECTIONS, NULL_S = 8, 0.5
ASKED, QUICK_ASKED = 4096, 512
"""Rows that are asked for: on a few that repeat, trees run twice as fast."""

FEATURES = (
    "rows bring their features along: computing them for a batch and looking them up for a request is not measured"
)


@dataclass(frozen=True, slots=True)
class _Case:
    """One scenario of one mode, and what its repetitions have found so far."""

    mode: str
    name: str
    scenario: Scenario
    found: list[Repetition] = field(default_factory=list)


def run_bench(job: BenchJob, notify: Notify) -> BenchResult:
    """Measure every mode that is wanted, and compare what they answer.

    The answers come first: a mode that gives others is not worth measuring, but is measured all the same. Raises
    UsageError and InputError for what cannot be measured, and StoreError for a mode that does not answer.
    """
    check_scenarios(job.scenarios)
    began, started_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    machine = describe_machine()
    bundle = load_bundle(job.bundle)
    predictor = Predictor.of_bundle(bundle)
    plan = quick_plan(job.slo_s) if job.is_quick else plan_of(job.duration_s, job.slo_s)
    with _subject(job, bundle, predictor) as subject, load_process() as client, ExitStack() as stack:
        modes: dict[str, RunningMode] = {}
        for name, module in choose_modes(job.modes, subject, notify).items():
            notify(f"starting {name}")
            modes[name] = stack.enter_context(module.open_mode(subject))
        for mode in modes.values():
            mode.await_ready()
        parity = _compare(predictor, subject, modes, notify)
        measurements = list(_measure(job, plan, client, modes, notify))
    return BenchResult(
        bundle=job.bundle,
        digest=bundle.digest,
        machine=machine,
        started_at=started_at,
        seconds=time.monotonic() - began,
        slo_s=job.slo_s,
        price_per_hour=job.price_per_hour,
        is_quick=job.is_quick,
        measurements=tuple(measurements),
        parity=parity,
        notes=(FEATURES,) if bundle.features else (),
    )


def _rows(job: BenchJob, bundle: Bundle, most: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    try:
        return choose_rows(read_frame(job.data), bundle.manifest.signature, most)
    except MissingColumnsError as error:
        if not bundle.features:
            raise
        join = f"mlkit features join --features {job.bundle} --spine {job.data} --out joined.parquet"
        raise UsageError(
            error.what, "the bench takes rows that have their features", f"{join}, and bench those"
        ) from error


@contextmanager
def _subject(job: BenchJob, bundle: Bundle, predictor: Predictor) -> Iterator[Subject]:
    most = QUICK_ASKED if job.is_quick else ASKED
    stored, asked = _rows(job, bundle, most)
    with tempfile.TemporaryDirectory(prefix="mlkit-bench-") as name, caretaker(folder := Path(name)) as minder:
        yield Subject(
            bundle=bundle.directory,
            command=job.command,
            folder=folder,
            caretaker=minder,
            signature=predictor.signature,
            stored=stored,
            asked=asked,
            redis=job.redis,
            password=job.password,
            is_quick=job.is_quick,
        )


def _compare(predictor: Predictor, subject: Subject, modes: Mapping[str, RunningMode], notify: Notify) -> Parity:
    notify(f"comparing the answers of {', '.join(modes)} for {len(subject.asked):,} rows")
    reference = predictor.predict_columns(columns_of(subject.asked)[0])
    return compare_answers(reference, {name: mode.answers() for name, mode in modes.items()})


def _measure(
    job: BenchJob, plan: Plan, client: LoadProcess, modes: Mapping[str, RunningMode], notify: Notify
) -> Iterator[Measurement]:
    limits = {name: _client_limit(client, mode) for name, mode in modes.items()}
    cases = [
        _Case(mode, name, make_scenario(name, client, modes[mode], plan))
        for mode in modes
        for name in modes[mode].scenarios
        if name in (job.scenarios or plan.scenarios)
    ]
    if not cases:
        raise UsageError("no mode has such a scenario", fix="leave out --mode or --scenario")
    steps = [(repetition, case) for repetition in range(plan.rounds) for case in cases]
    for step, (repetition, case) in enumerate(steps, 1):
        notify(f"{step} of {len(steps)}: {case.mode}, {case.name}")
        case.found.append(case.scenario.measure(repetition))
    for case in cases:
        limit = limits[case.mode]
        yield summarise(case.mode, case.name, case.scenario.percentile, case.found, limit)


def _client_limit(client: LoadProcess, mode: RunningMode) -> float | None:
    """What the client reaches against a server that does nothing; None for a mode that has no server."""
    if SERVER not in mode.scenarios:
        return None
    target = mode.target(1)
    if not isinstance(target, ServerTarget):
        return None
    with null_server(target) as nothing:
        return client.run(nothing, Closed(NULL_CONNECTIONS, NULL_S)).rate
