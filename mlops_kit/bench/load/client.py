"""The client: connections, requests when they are due, and three times of each.

It does little for each request, because what it does is part of what it measures. Requests are built before,
connections have one request each, and the clock of an open loop is the machine's interval timer: the timers of
event loops are no finer than a millisecond.
"""

import asyncio
import gc
import signal
import time
from collections import Counter

import numpy as np

from mlops_kit.bench.load.arrivals import ClosedArrivals, OpenArrivals
from mlops_kit.bench.load.interface import Closed, Connection, Load, LoadResult, Target

OPEN_CONNECTIONS = 256
"""Of an open loop. Requests beyond wait in the client, and the wait counts."""

TIMEOUT_S = 10.0
TICK_S = 0.0001
LOOK_S = 0.02
"""How often requests that take too long are looked for, and the end."""

PAUSE_S = 0.1
"""Before a connection that was lost is made again."""


class Client:
    """Used once, on the event loop of a process's main thread."""

    def __init__(self, target: Target, load: Load, timeout_s: float = TIMEOUT_S) -> None:
        self._target, self._load, self._timeout_s = target, load, timeout_s
        self._requests, self._asked = target.requests, 0
        self._idle: list[Connection] = []
        self._busy: dict[Connection, tuple[float, float]] = {}
        self._answers: list[tuple[float, float, float]] = []
        self._errors: Counter[str] = Counter()
        self._connecting: set[asyncio.Task[None]] = set()
        self._is_over = False

    async def run(self) -> LoadResult:
        """Ask until the end of the load, and until what is under way then is answered. Raises OSError if nobody
        takes connections in the beginning.
        """
        wanted = self._load.connections if isinstance(self._load, Closed) else OPEN_CONNECTIONS
        count = min(wanted, self._target.most_connections)
        self._idle = list(await asyncio.gather(*(self._target.connect(self) for _ in range(count))))
        gc.collect()
        gc.disable()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGALRM, self._tick)
        try:
            started, cpu = time.perf_counter(), time.process_time()
            self._begin(started)
            await self._watch()
            cpu_share = (time.process_time() - cpu) / (time.perf_counter() - started)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            loop.remove_signal_handler(signal.SIGALRM)
            gc.enable()
            self._close()
        due, sent, answered = (np.array(self._answers).reshape(-1, 3) - started).T
        seconds = self._load.seconds
        if isinstance(self._load, Closed):
            # The last answers come after the end, and belong to it: without them, slow requests would seem slower.
            seconds = float(answered.max(initial=seconds))
        return LoadResult(due, sent, answered, self._errors, seconds, cpu_share)

    def answered(self, connection: Connection, problem: str = "") -> None:
        """An answer is there, and the connection free."""
        now = time.perf_counter()
        if (under_way := self._busy.pop(connection, None)) is None:
            return
        if problem:
            self._errors[problem] += 1
        else:
            self._answers.append((*under_way, now))
        self._feed(connection, now)

    def lost(self, connection: Connection) -> None:
        """What it had under way is lost, too; another takes its place."""
        if self._busy.pop(connection, None):
            self._errors["connection lost"] += 1
        elif connection in self._idle:
            self._idle.remove(connection)
        if not self._is_over:
            task = asyncio.ensure_future(self._connect_again())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def _begin(self, started: float) -> None:
        closed = isinstance(self._load, Closed)
        self._arrivals = (ClosedArrivals if closed else OpenArrivals)(self._load, started)  # type: ignore[arg-type]
        self._tick()

    def _tick(self) -> None:
        """Send what is due as long as connections are free, and come again when the next is due."""
        while self._idle and self._go_on(self._idle[-1], time.perf_counter()):
            self._idle.pop()
        if self._idle and (due := self._arrivals.next_due()) is not None:
            signal.setitimer(signal.ITIMER_REAL, max(due - time.perf_counter(), TICK_S))

    def _feed(self, connection: Connection, now: float) -> None:
        """Give a free connection what is due, or let it wait. Nobody looks at the clock while none is free."""
        if not self._go_on(connection, now):
            self._idle.append(connection)
            if len(self._idle) == 1:
                self._tick()

    def _go_on(self, connection: Connection, now: float) -> bool:
        """Whether a request was due, and is sent."""
        due = self._arrivals.take(now)
        if due is None:
            return False
        self._busy[connection] = due, now
        connection.send(self._requests[self._asked % len(self._requests)])
        self._asked += 1
        return True

    async def _watch(self) -> None:
        while self._busy or not self._arrivals.is_over(time.perf_counter()):
            await asyncio.sleep(LOOK_S)
            limit = time.perf_counter() - self._timeout_s
            self._errors["timeout"] += self._arrivals.expired(limit)
            for connection in [each for each, (_, sent) in self._busy.items() if sent < limit]:
                self._errors["timeout"] += 1
                del self._busy[connection]
                connection.close()
        self._errors += Counter()  # drops what was counted zero times

    async def _connect_again(self) -> None:
        while not self._is_over:
            await asyncio.sleep(PAUSE_S)
            try:
                connection = await self._target.connect(self)
            except OSError:
                continue
            self._feed(connection, time.perf_counter())
            return

    def _close(self) -> None:
        self._is_over = True
        for connection in (*self._idle, *self._busy):
            connection.close()
        for task in self._connecting:
            task.cancel()
