"""Requests that share a run of the model."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlops_kit.errors import DeadlineError
from mlops_kit.schema import Array

Feeds = Mapping[str, Array]
Run = Callable[[Feeds, int], Sequence[Array]]
"""Tensors of so many rows → output columns."""

Outcome = Sequence[Array] | BaseException


@dataclass(slots=True)
class Answer:
    """A request's output columns. It waited `queue_s`, then the run of `batch_rows` rows took `model_s`."""

    outputs: Sequence[Array]
    queue_s: float
    model_s: float
    batch_rows: int


@dataclass(slots=True, eq=False)
class Waiting:
    """A request in the queue. `deadline` and `arrived` are times of time.perf_counter()."""

    feeds: Feeds
    rows: int
    deadline: float
    arrived: float
    future: "asyncio.Future[Answer]"

    def expire(self) -> None:
        """Its time is over."""
        if not self.future.done():
            self.future.set_exception(DeadlineError())

    def fits(self, other: "Waiting") -> bool:
        """Whether the rows of both can be in one tensor."""
        return all(tensor.shape[1:] == other.feeds[name].shape[1:] for name, tensor in self.feeds.items())


@dataclass(frozen=True, slots=True)
class Results:
    """What became of each request of a batch, in `seconds`."""

    outcomes: Sequence[Outcome]
    seconds: float


def run_batch(run: Run, batch: Sequence[Waiting], rows: int) -> Results:
    """One run for all; if the model fails on it, one for each, so that only the guilty one fails."""
    started = time.perf_counter()
    outcomes = _run_together(run, batch, rows) if len(batch) > 1 else None
    if outcomes is None:
        outcomes = [_attempt(run, one) for one in batch]
    return Results(outcomes, time.perf_counter() - started)


def _run_together(run: Run, batch: Sequence[Waiting], rows: int) -> list[Outcome] | None:
    """None if the model fails."""
    try:
        feeds = {name: np.concatenate([one.feeds[name] for one in batch]) for name in batch[0].feeds}
        outputs = run(feeds, rows)
    except Exception:  # noqa: BLE001 - each of them is run alone, and then it is known whose fault it is
        return None
    first = 0
    outcomes: list[Outcome] = []
    for one in batch:
        outcomes.append([values[first : first + one.rows] for values in outputs])
        first += one.rows
    return outcomes


def _attempt(run: Run, one: Waiting) -> Outcome:
    try:
        return run(one.feeds, one.rows)
    except Exception as error:  # noqa: BLE001 - it is raised where the request is answered
        return error
