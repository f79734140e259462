"""Requests that arrive while a run is in progress form the next one; a lone request waits for nobody.

A run that takes less than handing it to a thread would cost is made on the event loop itself: whatever the loop
has read from its sockets by then is one batch. A longer one is made in a thread, and the loop reads on meanwhile.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlops_kit.errors import DeadlineError, OverloadedError
from mlops_kit.modes.online.batch import Answer, Feeds, Results, Run, Waiting, run_batch
from mlops_kit.modes.online.run_cost import RunCost

CROWDED_TURN_S = 0.002
"""For so long runs follow each other without a look at the sockets while the queue is at least half full: requests
are then read, refused and answered many at a time, which costs half as much for each.
"""


class Batcher:
    """A bounded queue before one model. All methods are called on the event loop."""

    def __init__(
        self,
        run: Run,
        *,
        max_rows: int,
        max_requests: int,
        max_delay_s: float = 0.0,
        prepare: Callable[[Sequence[Feeds]], Coroutine[Any, Any, None]] | None = None,
        on_run: Callable[[int, float], None] = lambda _rows, _seconds: None,
    ) -> None:
        """`max_rows` is the size of a batch, which a lone request may exceed; `max_requests` that of the queue.

        `prepare` is awaited before each run, with the feeds of its requests; those that arrive meanwhile are for
        the next one. `on_run` is told the rows of each run, and how many seconds it took.
        """
        self._run = run
        self._on_run = on_run
        self._max_rows = max_rows
        self._max_requests = max_requests
        self._max_delay_s = max_delay_s
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Waiting] = deque()
        self._running: Sequence[Waiting] = ()
        self._next: asyncio.Handle | None = None
        self._cost = RunCost()
        self._prepare = prepare
        self._preparing: asyncio.Task[None] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._earliest = math.inf
        """No deadline of those that wait or run is earlier; it may be that of one that is answered by now."""

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self._queue and not self._running

    @property
    def _is_crowded(self) -> bool:
        return len(self._queue) >= self._max_requests // 2

    def submit(self, feeds: Feeds, rows: int, deadline: float) -> "asyncio.Future[Answer]":
        """Queue a request. `deadline` is a time of time.perf_counter(): the future has DeadlineError then.

        Raises OverloadedError if the queue is full.
        """
        self.admit()
        waiting = Waiting(feeds, rows, deadline, time.perf_counter(), self._loop.create_future())
        self._earliest = deadline if self.is_idle else min(self._earliest, deadline)
        self._queue.append(waiting)
        if not self._running and (self._next is None or self._max_delay_s):
            self._wake()
        if self._running or self._max_delay_s:
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
        if self._queue or self._running or self._max_delay_s or self._prepare or not self._cost.is_short(rows):
            return None
        started = time.perf_counter()
        if started >= deadline:
            raise DeadlineError
        outputs = self._run(feeds, rows)
        seconds = time.perf_counter() - started
        self._cost.learn(seconds, rows)
        self._on_run(rows, seconds)
        return Answer(outputs, 0.0, seconds, rows)

    def close(self) -> None:
        """End the thread, once nothing runs any more."""
        if self._pool:
            self._pool.shutdown(wait=False)

    def _wake(self) -> None:
        """Start the next run: at once, or where a delay is asked for, when that is over or the batch is full."""
        if self._max_delay_s and sum(waiting.rows for waiting in self._queue) < self._max_rows:
            self._next = self._next or self._loop.call_later(self._max_delay_s, self._start_next)
            return
        if self._next:
            self._next.cancel()
        self._next = self._loop.call_soon(self._start_next)

    def _go_on(self) -> None:
        """What waits after a run has waited long enough."""
        if self._queue and not self._running and self._next is None:
            self._next = self._loop.call_soon(self._start_next)

    def _start_next(self) -> None:
        """Run what waits, or prepare that."""
        self._next = None
        started = now = time.perf_counter()
        while batch := self._take():
            if self._prepare:
                self._await(self._prepare([one.feeds for one in batch]), batch, now)
            else:
                self._run_batch(batch, now)
            now = time.perf_counter()
            if self._running or not self._is_crowded or now > started + CROWDED_TURN_S:
                break
        self._go_on()

    def _await(self, preparation: Coroutine[Any, Any, None], batch: Sequence[Waiting], started: float) -> None:
        self._running = batch
        self._set_alarm()
        self._preparing = self._loop.create_task(preparation)
        self._preparing.add_done_callback(lambda task: self._run_prepared(batch, task, started))

    def _run_prepared(self, batch: Sequence[Waiting], task: "asyncio.Task[None]", started: float) -> None:
        self._preparing = None
        if task.cancelled():
            return
        self._running = ()
        batch = [waiting for waiting in batch if not waiting.future.done()]
        if error := task.exception():
            for waiting in batch:
                waiting.future.set_exception(error)
        elif batch:
            self._run_batch(batch, started)
        self._go_on()

    def _run_batch(self, batch: Sequence[Waiting], started: float) -> None:
        """Run it here, or in the thread."""
        rows = sum(waiting.rows for waiting in batch)
        if self._cost.is_short(rows):
            self._settle(batch, run_batch(self._run, batch, rows), started)
            return
        self._running = batch
        self._set_alarm()
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="model")
        done = self._loop.run_in_executor(self._pool, run_batch, self._run, batch, rows)
        done.add_done_callback(lambda future: self._finish(batch, future, started))

    def _finish(self, batch: Sequence[Waiting], future: "asyncio.Future[Results]", started: float) -> None:
        self._running = ()
        self._settle(batch, future.result(), started)
        self._go_on()

    def _take(self) -> list[Waiting]:
        """Requests of one shape, and no more rows than fit, of those that somebody still waits for."""
        batch: list[Waiting] = []
        rows = 0
        now = time.perf_counter()
        while self._queue:
            first = self._queue[0]
            if first.future.done() or first.deadline <= now:
                self._queue.popleft().expire()
                continue
            if batch and (rows + first.rows > self._max_rows or not first.fits(batch[0])):
                break
            batch.append(self._queue.popleft())
            rows += first.rows
        return batch

    def _settle(self, batch: Sequence[Waiting], results: Results, started: float) -> None:
        rows = sum(waiting.rows for waiting in batch)
        self._cost.learn(results.seconds, rows)
        self._on_run(rows, results.seconds)
        for waiting, outcome in zip(batch, results.outcomes, strict=True):
            if waiting.future.done():
                continue
            if isinstance(outcome, BaseException):
                waiting.future.set_exception(outcome)
            else:
                queue_s = started - waiting.arrived
                waiting.future.set_result(Answer(outcome, queue_s, results.seconds, rows))

    def _set_alarm(self) -> None:
        """Wake up at the earliest deadline. If that request is answered by then, the alarm is set anew."""
        if self._alarm:
            if self._alarm_at <= self._earliest:
                return
            self._alarm.cancel()
        self._alarm_at = self._earliest
        self._alarm = self._loop.call_later(max(0.0, self._earliest - time.perf_counter()), self._expire_all)

    def _expire_all(self) -> None:
        self._alarm = None
        now = time.perf_counter()
        for waiting in (*self._running, *self._queue):
            if waiting.deadline <= now:
                waiting.expire()
        self._queue = deque(waiting for waiting in self._queue if not waiting.future.done())
        left = [one.deadline for one in (*self._running, *self._queue) if not one.future.done()]
        self._earliest = min(left, default=math.inf)
        # Where no run is in progress and none is delayed, the loop is about to look anyway.
        if left and (self._running or self._max_delay_s):
            self._set_alarm()
