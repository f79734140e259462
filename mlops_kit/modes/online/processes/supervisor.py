"""The supervisor: starts the workers, replaces those that die, tells them what to serve, and stops them."""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Coroutine
from typing import Any

from mlops_kit.errors import MlkitError, StoreError
from mlops_kit.modes.facts import error_of
from mlops_kit.modes.memory import resident_memory
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.listening import addresses
from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.metrics.layout import Layout
from mlops_kit.modes.online.processes.followed import Following
from mlops_kit.modes.online.processes.messages import LoadAsked, Open, Prepared, Ready, Refused, Start, Stop
from mlops_kit.modes.online.processes.reloading import Reloading
from mlops_kit.modes.online.processes.worker_process import ENDS, WorkerProcess, spawn_worker

log = logging.getLogger("mlkit.serve")

TICK_S = 1.0
SHORT_LIFE_S = 5.0
"""A worker that dies sooner is replaced after a pause, which doubles each time."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
STOP_S = 5.0
"""How long a worker may take to end, beyond the time that it has to drain."""


def supervise(job: ServeJob, listener: socket.socket, following: Following) -> None:
    """Serve on a listening socket until a signal of ENDS comes; then answer what has begun, and return.

    Raises BundleError or UsageError for a model that cannot be served, KeyboardInterrupt if SIGINT comes before
    anything is ready.
    """
    supervisor = Supervisor(job, listener, following)
    asyncio.run(supervisor.run())
    if supervisor.is_interrupted:
        raise KeyboardInterrupt


class Supervisor:
    """Used on one event loop, once."""

    def __init__(self, job: ServeJob, listener: socket.socket, following: Following) -> None:
        self._job = job
        self._listener = listener
        self._following = following
        self._layout = Layout(list(following))
        self._counters = SharedCounters(self._layout, job.workers + 1)
        self._slot = self._counters.slot(job.workers)
        self._workers: dict[int, WorkerProcess] = {}
        self._reloading = Reloading(following, job.model_root, self._living, self._layout, self._slot)
        self._others: set[asyncio.Task[None]] = set()
        self._spawning = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._drained_at = 0.0
        self._is_hurried = False
        self.is_interrupted = False
        """Whether somebody pressed Ctrl-C before it was ready."""
        self._failure: MlkitError | None = None

    async def run(self) -> None:
        """Until a signal comes. Raises the error of a worker that cannot start."""
        loop = asyncio.get_running_loop()
        for end in ENDS:
            if signal.getsignal(end) is not signal.SIG_IGN:  # as nohup has it
                loop.add_signal_handler(end, self._hear, end)
        http, grpc = addresses(self._job, self._listener)
        log.info("starting: %s and %s answer once the models are loaded", http, grpc)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for number in range(self._job.workers):
                tasks.create_task(self._keep(number))
            self._background(self._tick())
            if self._job.is_watching:
                self._background(self._reloading.watch())
            await self._stopping.wait()
            log.info("draining")
            for task in [*self._others]:
                task.cancel()
            self._listener.close()  # The last one to do so must be a worker, which takes who has come.
            await asyncio.gather(*(self._stop(worker) for worker in self._living()))
        if self._failure:
            raise self._failure
        log.info("stopped")

    def _hear(self, end: signal.Signals) -> None:
        """The first signal begins the end, the next one is impatient."""
        if not self._stopping.is_set():
            self.is_interrupted = end == signal.SIGINT and not self._slot[self._layout.is_ready]
            self._begin_stop()
        elif not self._is_hurried:
            self._is_hurried = True
            log.info("no more time to drain")
            self._drained_at = time.monotonic()
            for worker in self._living():
                self._tasks.create_task(self._stop(worker))

    def _begin_stop(self) -> None:
        """From now on runs the one time that all have to drain."""
        if not self._stopping.is_set():
            limits = self._job.limits
            self._drained_at = time.monotonic() + limits.stop_delay_s + limits.drain_s
            self._stopping.set()

    def _living(self) -> list[WorkerProcess]:
        return [*self._workers.values()]

    async def _keep(self, number: int) -> None:
        """A worker, and another one after it."""
        pause_s = FIRST_PAUSE_S
        worker = await self._start(number, is_replacement=False)
        while True:
            await self._converse(worker)
            code = await worker.process.wait()
            worker.gone.set()
            del self._workers[number]
            self._counters.forget(number)
            if self._stopping.is_set():
                return
            log.error("worker %s (process %s) died (%s) and is replaced", number, worker.process.pid, code)
            self._slot[self._layout.restarts] += 1
            if time.monotonic() - worker.started < SHORT_LIFE_S:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                pause_s = FIRST_PAUSE_S
            while (replacement := await self._replace(number)) is None:
                if self._stopping.is_set():
                    return
            worker = replacement

    async def _replace(self, number: int) -> WorkerProcess | None:
        """None where the machine has no room for a process now, after a pause; and once the server is to stop."""
        if self._stopping.is_set():
            return None
        try:
            return await self._start(number, is_replacement=True)
        except OSError as error:
            log.error("worker %s cannot be started: %s", number, error.strerror or error)  # noqa: TRY400
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LONGEST_PAUSE_S)
            return None

    async def _start(self, number: int, *, is_replacement: bool) -> WorkerProcess:
        async with self._spawning:
            worker = await spawn_worker(number, self._listener, self._counters.fd)
        paths = {name: model.path for name, model in self._following.items()}
        worker.channel.send(Start(self._job, paths, number, is_replacement))
        self._workers[number] = worker
        if self._stopping.is_set():
            self._tasks.create_task(self._stop(worker))
        return worker

    async def _converse(self, worker: WorkerProcess) -> None:
        """Hear it until it is gone."""
        has_started = False
        async for message in worker.channel.receive():
            match message:
                case Ready(digests):
                    has_started = True
                    worker.digests = dict(digests)
                    self._background(self._welcome(worker))
                case Prepared() if worker.prepared and not worker.prepared.done():
                    worker.prepared.set_result(message)
                case Refused(facts):
                    self._refuse_start(worker, error_of(facts))
                case LoadAsked():
                    self._background(self._load(worker, message))
        await worker.channel.close()
        if not has_started and not self._stopping.is_set() and not self._slot[self._layout.restarts]:
            self._fail(StoreError("a worker ended before it was ready"))

    async def _welcome(self, worker: WorkerProcess) -> None:
        await self._reloading.catch_up(worker)
        if worker.is_ready:
            worker.channel.send(Open())
        if self._slot[self._layout.is_ready]:
            if worker.is_ready:
                log.info("worker %s (process %s) is ready", worker.number, worker.process.pid)
        elif len([one for one in self._living() if one.is_ready]) == self._job.workers:
            self._slot[self._layout.is_ready] = 1
            self._tell_start()

    def _tell_start(self) -> None:
        """One line, when everything is there."""
        (http, grpc), workers = addresses(self._job, self._listener), self._job.workers
        models = {name: model.digest for name, model in self._following.items()}
        text = ", ".join(f"{name} ({digest})" for name, digest in models.items())
        facts = {"http": http, "grpc": grpc, "models": models, "workers": workers}
        log.info("ready at %s and %s: %s; workers: %s", http, grpc, text, workers, extra={"facts": facts})

    def _refuse_start(self, worker: WorkerProcess, error: MlkitError) -> None:
        if self._slot[self._layout.restarts]:
            log.error("worker %s cannot start: %s", worker.number, error)
        else:
            self._fail(error)

    def _fail(self, error: MlkitError) -> None:
        self._failure = self._failure or error
        self._begin_stop()

    async def _load(self, worker: WorkerProcess, asked: LoadAsked) -> None:
        worker.channel.send(await self._reloading.load_asked(asked))

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        """What ends when the server is to stop."""
        task = self._tasks.create_task(_guarded(work))
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    async def _stop(self, worker: WorkerProcess) -> None:
        left_s = max(0.0, self._drained_at - time.monotonic())
        delay_s = min(left_s, self._job.limits.stop_delay_s)
        worker.channel.send(Stop(left_s - delay_s, delay_s))
        try:
            await asyncio.wait_for(worker.gone.wait(), left_s + STOP_S)
        except TimeoutError:
            log.warning("worker %s did not end in time and is killed", worker.number)
            worker.kill()

    async def _tick(self) -> None:
        self._slot[self._layout.started_at] = time.time()
        while True:
            self._slot[self._layout.memory] = resident_memory()
            await asyncio.sleep(TICK_S)


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    """A bug in what was asked for once must not end the server."""
    try:
        await work
    except Exception:
        log.exception("a bug in mlkit")
