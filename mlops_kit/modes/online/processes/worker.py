"""A worker: a process that takes connections from the shared port, and does what the supervisor tells it.

Started as `python -m mlops_kit.modes.online.processes.worker CONTROL LISTENER COUNTERS`: file descriptors that it
inherits.
"""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvloop

from mlops_kit.errors import MlkitError
from mlops_kit.modes.facts import facts_of
from mlops_kit.modes.memory import resident_memory
from mlops_kit.modes.online.admin import Admin
from mlops_kit.modes.online.grpc.server import GrpcDoor
from mlops_kit.modes.online.http.app import App
from mlops_kit.modes.online.http.server import HttpServer
from mlops_kit.modes.online.logs import set_up_logging
from mlops_kit.modes.online.metrics.counters import ModelMeter, SharedCounters
from mlops_kit.modes.online.metrics.events import EventCounts
from mlops_kit.modes.online.metrics.layout import Layout
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.processes.messages import (
    Channel,
    LoadDone,
    Open,
    Prepare,
    Prepared,
    Ready,
    Refused,
    Start,
    Stop,
    Switch,
)
from mlops_kit.modes.online.traffic import Traffic

if TYPE_CHECKING:
    from mlops_kit.modes.online.features.serving import FeatureServing

log = logging.getLogger("mlkit.serve")

TICK_S = 1.0
"""How often gauges are written."""


class Worker:
    """One process's part of a server."""

    def __init__(self, start: Start, channel: Channel, listener: socket.socket, counters: SharedCounters) -> None:
        self._start = start
        self._channel = channel
        self._listener = listener
        self._slot = counters.slot(start.slot)
        layout, limits = counters.layout, start.job.limits
        meters = {name: ModelMeter(layout.models[name], self._slot) for name in start.models}
        self._layout = layout
        self._limits = limits
        traffic = Traffic()
        unnamed = ModelMeter(layout.unnamed, self._slot)
        self._models = Models(meters, limits, traffic, unnamed, self._features())
        self._admin = Admin(channel)
        self._preparing: asyncio.Task[None] | None = None
        self._stop: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self._welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_hurried = False
        self._drain_limit: asyncio.Timeout | None = None
        self._predictions = PredictionLog(Path(start.job.log_folder)) if start.job.log_folder else None
        self._lost_before = {place: self._slot[place] for place in layout.losses.values()}
        self._app = App(self._models, start.job, counters, self._admin, self._predictions)
        self._http = HttpServer(self._app, start.job, traffic)
        self._grpc = GrpcDoor(self._models, start.job, counters, unnamed, self._predictions)

    async def run(self) -> None:
        """Answer until told to stop, or until the supervisor is gone."""
        self._slot[self._layout.started_at] = time.time()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            ticking = tasks.create_task(self._tick())
            conversation = tasks.create_task(self._converse())
            loading = tasks.create_task(self._load())
            try:
                await self._serve(loading)
            finally:
                for task in (ticking, conversation, loading, self._preparing):
                    if task:
                        task.cancel()
        await self._channel.close()

    async def _serve(self, loading: "asyncio.Task[bool]") -> None:
        if not self._start.is_replacement:
            await self._open()
        await asyncio.wait((loading, self._stop), return_when=asyncio.FIRST_COMPLETED)
        if is_loaded := loading.done() and loading.result():
            # What is loaded stays: a full collection need not look at it again.
            gc.collect()
            gc.freeze()
            self._slot[self._layout.is_ready] = 1
            self._channel.send(Ready({slot.name: slot.model.digest for slot in self._models if slot.model}))
        if self._start.is_replacement and (is_loaded or self._stop.done()):
            # At a stop, too: who has come since the one before died is told that the server stops.
            await asyncio.wait((self._welcome, self._stop), return_when=asyncio.FIRST_COMPLETED)
            await self._open()
        if is_loaded:
            await self._stop
        await self._drain(self._stop.result() if self._stop.done() else Stop(self._limits.drain_s))
        if self._predictions:
            await asyncio.to_thread(self._predictions.close)

    async def _open(self) -> None:
        await self._grpc.start()
        self._http.open(self._listener)

    async def _drain(self, stop: Stop) -> None:
        """Answer what has begun, for so long as is allowed. The models go on until both doors are closed."""
        self._app.health.is_draining = self._grpc.is_draining = True
        self._slot[self._layout.is_ready] = 0
        self._admin.give_up()
        with contextlib.suppress(TimeoutError):
            left_s = 0.0 if self._is_hurried else stop.delay_s + stop.drain_s
            async with asyncio.timeout(left_s) as self._drain_limit:
                await asyncio.sleep(stop.delay_s)
                await asyncio.gather(self._http.close(), self._grpc.stop(stop.drain_s))
                await self._models.drain()
        self._drain_limit = None
        await asyncio.gather(self._http.give_up(), self._grpc.stop(0))

    async def _load(self) -> bool:
        try:
            if self._models.features:
                await self._models.features.open()
        except MlkitError as error:
            self._channel.send(Refused(facts_of(error)))
            return False
        for name, path in self._start.models.items():
            try:
                await self._models.prepare(name, path)
            except MlkitError as error:
                facts = facts_of(error)
                self._channel.send(Refused(msgspec.structs.replace(facts, what=f"model {name}: {facts.what}")))
                return False
            self._models.switch(name)
        return True

    async def _converse(self) -> None:
        """Do what is said. Who says nothing any more is gone, and nobody else would say Stop."""
        async for message in self._channel.receive():
            match message:
                case Prepare():
                    # Whoever is told to stop in the middle of it does not wait for its end.
                    self._preparing = self._tasks.create_task(self._prepare(message))
                case Switch(name, is_taken, refusal):
                    if is_taken:
                        self._models.switch(name)
                    else:
                        self._models.refuse(name, refusal)
                case Open():
                    self._welcome.set_result(None)
                case LoadDone():
                    self._admin.settle(message)
                case Stop():
                    self._hear_stop(message)
        if not self._stop.done():
            self._stop.set_result(Stop(self._limits.drain_s))

    def _hear_stop(self, message: Stop) -> None:
        if not self._stop.done():
            self._stop.set_result(message)
            return
        self._is_hurried = True
        if self._drain_limit:
            self._drain_limit.reschedule(asyncio.get_running_loop().time())

    async def _prepare(self, asked: Prepare) -> None:
        name = asked.name
        try:
            digest = await self._models.prepare(name, asked.path, is_forced=asked.is_forced)
        except MlkitError as error:
            self._channel.send(Prepared(name, refusal=facts_of(error)))
        else:
            self._channel.send(Prepared(name, digest))

    def _features(self) -> "FeatureServing | None":
        """What compiles the kernel is an extra, and takes a moment to be imported."""
        if self._start.job.features is None:
            return None
        from mlops_kit.modes.online.features.serving import FeatureServing

        counts = EventCounts(self._layout.events, self._slot)
        return FeatureServing(self._start.job.features, counts, is_telling=self._start.slot == 0)

    async def _tick(self) -> None:
        while True:
            self._slot[self._layout.memory] = resident_memory()
            for slot in self._models:
                slot.meter.show_queue(slot.model.queued if slot.model else 0)
            if self._predictions:
                for reason, lost in self._predictions.losses.items():
                    place = self._layout.losses[reason]
                    self._slot[place] = self._lost_before[place] + lost
            await asyncio.sleep(TICK_S)


async def _main(control: int, listener: int, counters: int) -> None:
    channel = await Channel.over(socket.socket(fileno=control))
    start = await anext(channel.receive(), None)
    if not isinstance(start, Start):
        return
    set_up_logging(start.job.log_format)
    shared = SharedCounters(Layout(list(start.models)), start.job.workers + 1, counters)
    await Worker(start, channel, socket.socket(fileno=listener), shared).run()


def main() -> None:
    """Run a worker until its supervisor stops it, which alone hears signals: a worker has them blocked."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(*map(int, sys.argv[1:])))
        # A thread may be in the middle of a run, or of loading a model, that nobody waits for any more.
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
