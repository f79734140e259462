"""Requests that arrive while a run is in progress form the next one; a lone request waits for nobody.

A run that takes less than handing it to a thread would cost is made on the event loop itself: whatever the loop
has read from its sockets by then is one batch. A longer one is made in a thread, and the loop reads on meanwhile.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mlops_kit.errors import DeadlineError, OverloadedError
from mlops_kit.schema import Array

Feeds = Mapping[str, Array]
Run = Callable[[Feeds, int], Sequence[Array]]
"""Tensors of so many rows → output columns."""

INLINE_S = 0.0005
"""A run that is expected to take less is made on the event loop."""

MEMORY = 0.9
"""How much of the estimate of a run's duration the next run leaves."""


@dataclass(slots=True)
class Answer:
    """A request's output columns. It waited `queue_s`, then the run of `batch_rows` rows took `model_s`."""

    outputs: Sequence[Array]
    queue_s: float
    model_s: float
    batch_rows: int


@dataclass(slots=True, eq=False)
class _Waiting:
    feeds: Feeds
    rows: int
    deadline: float
    arrived: float
    future: "asyncio.Future[Answer]"


class Batcher:
    """A bounded queue before one model. All methods are called on the event loop."""

    def __init__(
        self,
        run: Run,
        *,
        max_rows: int,
        max_requests: int,
        max_delay_s: float = 0.0,
        on_run: Callable[[int, float], None] = lambda _rows, _seconds: None,
    ) -> None:
        """`max_rows` is the size of a batch, which a lone request may exceed; `max_requests` that of the queue.

        `on_run` is told the rows of each run, and how many seconds it took.
        """
        self._run = run
        self._on_run = on_run
        self._max_rows = max_rows
        self._max_requests = max_requests
        self._max_delay_s = max_delay_s
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiting] = deque()
        self._running: Sequence[_Waiting] = ()
        self._is_woken = False
        self._base_s, self._row_s = 0.0, 0.0
        self._pool: ThreadPoolExecutor | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self._queue and not self._running

    def submit(self, feeds: Feeds, rows: int, deadline: float) -> "asyncio.Future[Answer]":
        """Queue a request. `deadline` is a time of time.perf_counter(): the future has DeadlineError then.

        Raises OverloadedError if the queue is full.
        """
        self.admit()
        waiting = _Waiting(feeds, rows, deadline, time.perf_counter(), self._loop.create_future())
        self._queue.append(waiting)
        if not self._is_woken and not self._running:
            self._wake(self._max_delay_s)
        if (self._running or self._max_delay_s) and (self._alarm is None or deadline < self._alarm_at):
            self._set_alarm()
        return waiting.future

    def admit(self) -> None:
        """Raises OverloadedError if the queue is full: asked early, it saves the work of reading a request."""
        if len(self._queue) >= self._max_requests:
            raise OverloadedError(self._max_requests)

    def run_now(self, feeds: Feeds, rows: int, deadline: float) -> Answer | None:
        """The answer for a request that nobody could share a run with, without a turn of the event loop.

        None where it has to wait for others, or where its run would hold up the loop. Raises what the model does,
        and DeadlineError.
        """
        if self._queue or self._running or self._max_delay_s or not self._is_short(rows):
            return None
        started = time.perf_counter()
        if started >= deadline:
            raise DeadlineError
        outputs = self._run(feeds, rows)
        seconds = time.perf_counter() - started
        self._learn(seconds, rows)
        self._on_run(rows, seconds)
        return Answer(outputs, 0.0, seconds, rows)

    def close(self) -> None:
        """End the thread, once nothing runs any more."""
        if self._pool:
            self._pool.shutdown(wait=False)

    def _wake(self, delay_s: float = 0.0) -> None:
        self._is_woken = True
        if delay_s:
            self._loop.call_later(delay_s, self._start_next)
        else:
            self._loop.call_soon(self._start_next)

    def _start_next(self) -> None:
        """Run what waits: here, or in the thread."""
        self._is_woken = False
        batch = self._take()
        if not batch:
            return
        rows = sum(waiting.rows for waiting in batch)
        if self._is_short(rows):
            started = time.perf_counter()
            self._settle(batch, _run_batch(self._run, batch, rows), started)
            if self._queue:
                self._wake()
            return
        self._running = batch
        self._set_alarm()
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="model")
        started = time.perf_counter()
        done = self._loop.run_in_executor(self._pool, _run_batch, self._run, batch, rows)
        done.add_done_callback(lambda future: self._finish(batch, future, started))

    def _finish(self, batch: Sequence[_Waiting], future: "asyncio.Future[_Results]", started: float) -> None:
        self._running = ()
        self._settle(batch, future.result(), started)
        self._set_alarm()
        if self._queue and not self._is_woken:
            self._wake()

    def _take(self) -> list[_Waiting]:
        """Requests of one shape, and no more rows than fit, of those that somebody still waits for."""
        batch: list[_Waiting] = []
        rows = 0
        now = time.perf_counter()
        while self._queue:
            first = self._queue[0]
            if first.future.done() or first.deadline <= now:
                _expire(self._queue.popleft())
                continue
            if batch and (rows + first.rows > self._max_rows or not _fit(first.feeds, batch[0].feeds)):
                break
            batch.append(self._queue.popleft())
            rows += first.rows
        return batch

    def _settle(self, batch: Sequence[_Waiting], results: "_Results", started: float) -> None:
        rows = sum(waiting.rows for waiting in batch)
        self._learn(results.seconds, rows)
        self._on_run(rows, results.seconds)
        for waiting, outcome in zip(batch, results.outcomes, strict=True):
            if waiting.future.done():
                continue
            if isinstance(outcome, BaseException):
                waiting.future.set_exception(outcome)
            else:
                queue_s = started - waiting.arrived
                waiting.future.set_result(Answer(outcome, queue_s, results.seconds, rows))

    def _is_short(self, rows: int) -> bool:
        """Whether a run may hold up the loop. What was never measured may not."""
        expected = self._base_s + rows * (self._row_s or self._base_s)
        return 0 < expected < INLINE_S

    def _learn(self, seconds: float, rows: int) -> None:
        """What a run costs, as a constant for each batch size seen lately: small ones teach the base."""
        if rows == 1:
            self._base_s = MEMORY * self._base_s + (1 - MEMORY) * seconds if self._base_s else seconds
        else:
            each = max(0.0, seconds - self._base_s) / rows
            self._row_s = MEMORY * self._row_s + (1 - MEMORY) * each if self._row_s else each

    def _set_alarm(self) -> None:
        """Wake up at the earliest deadline, where the loop is not about to look anyway."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        waiting = [one.deadline for one in (*self._running, *self._queue) if not one.future.done()]
        if waiting and (self._running or self._max_delay_s):
            self._alarm_at = min(waiting)
            delay = max(0.0, self._alarm_at - time.perf_counter())
            self._alarm = self._loop.call_later(delay, self._expire_all)

    def _expire_all(self) -> None:
        now = time.perf_counter()
        for waiting in (*self._running, *self._queue):
            if waiting.deadline <= now:
                _expire(waiting)
        self._queue = deque(waiting for waiting in self._queue if not waiting.future.done())
        self._set_alarm()


_Outcome = Sequence[Array] | BaseException


@dataclass(slots=True)
class _Results:
    outcomes: Sequence[_Outcome]
    seconds: float


def _run_batch(run: Run, batch: Sequence[_Waiting], rows: int) -> _Results:
    """One run for all; if the model fails on it, one for each, so that only the guilty one fails."""
    started = time.perf_counter()
    outcomes = _run_together(run, batch, rows) if len(batch) > 1 else None
    if outcomes is None:
        outcomes = [_attempt(run, one) for one in batch]
    return _Results(outcomes, time.perf_counter() - started)


def _run_together(run: Run, batch: Sequence[_Waiting], rows: int) -> "list[_Outcome] | None":
    """None if the model fails."""
    try:
        feeds = {name: np.concatenate([one.feeds[name] for one in batch]) for name in batch[0].feeds}
        outputs = run(feeds, rows)
    except Exception:  # noqa: BLE001 - each of them is run alone, and then it is known whose fault it is
        return None
    first = 0
    outcomes: list[_Outcome] = []
    for one in batch:
        outcomes.append([values[first : first + one.rows] for values in outputs])
        first += one.rows
    return outcomes


def _attempt(run: Run, one: _Waiting) -> _Outcome:
    try:
        return run(one.feeds, one.rows)
    except Exception as error:  # noqa: BLE001 - it is raised where the request is answered
        return error


def _expire(waiting: _Waiting) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(DeadlineError())


def _fit(feeds: Feeds, others: Feeds) -> bool:
    return all(tensor.shape[1:] == others[name].shape[1:] for name, tensor in feeds.items())
