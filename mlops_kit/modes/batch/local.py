"""The local engine: one thread reads and writes, in order; others score."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

from mlops_kit.modes.batch.job import Watcher
from mlops_kit.modes.batch.journal import UnitRecord
from mlops_kit.modes.batch.scoring import Scored, Scorer
from mlops_kit.modes.batch.sources.interface import Source, Unit
from mlops_kit.modes.batch.unit_writer import UnitWriter
from mlops_kit.modes.batch.work import Work

SLICE_ROWS = 16_384
"""Rows of one run of the model: large enough to make its overhead vanish, small enough to stay in the cache."""

PENDING = 8
"""Slices in memory at a time, being scored or waiting to be written."""

Step = tuple[Unit, "Future[Scored] | None"]
"""A chunk of a unit that is being scored, or None at the unit's end."""


def score_units(work: Work, watcher: Watcher) -> Generator[tuple[Unit, UnitRecord]]:
    """See `Engine`."""
    stops_at_bad_row = work.job.stops_at_bad_row
    steps = score_in_order(
        work.scorer, work.source, work.units, threads=work.job.threads, should_stop=watcher.should_stop
    )
    writer: UnitWriter | None = None
    try:
        for unit, scored in steps:
            if writer is None:
                identity, part = work.plan.identities[unit.part], work.run.parts / unit.part
                writer = UnitWriter(
                    unit, identity, work.scorer.schema, part, work.run.bad_rows(unit.part),
                    stops_at_bad_row=stops_at_bad_row, first_row=work.rows_before(unit),
                )  # fmt: skip
            if scored is None:
                record = writer.finish()
                writer = None
                yield unit, record
            else:
                writer.write(scored)
                watcher.advance(scored.records)
    finally:
        if writer:
            writer.abandon()


def score_in_order(
    scorer: Scorer,
    source: Source,
    units: Sequence[Unit],
    *,
    threads: int | None,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[Unit, Scored | None]]:
    """Yield each unit's scored chunks in order, then None for its end."""
    waiting: deque[Step] = deque()
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        wanted = (unit for unit in units if not should_stop())
        steps = chain.from_iterable(_steps(pool, scorer, source, unit) for unit in wanted)
        try:
            for step in steps:
                waiting.append(step)
                if len(waiting) >= PENDING:
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            for _, future in waiting:
                if future is not None:
                    future.cancel()


def _steps(pool: ThreadPoolExecutor, scorer: Scorer, source: Source, unit: Unit) -> Iterator[Step]:
    for chunk in source.chunks(unit, scorer.columns, SLICE_ROWS):
        yield unit, pool.submit(scorer.score, chunk)
    yield unit, None


def _result(step: Step) -> tuple[Unit, Scored | None]:
    unit, future = step
    return unit, None if future is None else future.result()
