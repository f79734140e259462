"""A server in this process: load the models, open the door, answer until told to stop, drain."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
import uvloop

from mlops_kit.errors import MlkitError, UsageError
from mlops_kit.modes.online.http.app import App
from mlops_kit.modes.online.http.connection import Connection, cut_stuck
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.models import Models
from mlops_kit.modes.online.prediction_log.log import PredictionLog
from mlops_kit.modes.online.tls import Tls

log = logging.getLogger("mlkit.serve")

BACKLOG = 2048
LOOK_TICKS = 3
"""Tenths of a second between looks for clients that are stuck."""


@dataclass(frozen=True, slots=True)
class ServeJob:
    """What to serve: name → bundle; and where."""

    models: Mapping[str, str]
    host: str = "127.0.0.1"
    port: int = 8080
    limits: Limits = field(default_factory=Limits)
    keys: Keys = field(default_factory=Keys)
    tls: Tls | None = None
    log_folder: Path | None = None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any that is free. Raises UsageError if it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}", error.strerror or str(error), "check --host") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        why = error.strerror or str(error)
        raise UsageError(f"cannot listen on {host}:{port}", why, "choose another --port or --host") from error
    return listener


def serve(job: ServeJob, listener: socket.socket, version: str) -> None:
    """Answer on a listening socket until SIGTERM or SIGINT; then answer what has begun, and return.

    Raises BundleError or UsageError for a model that cannot be served.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(job, listener, version))


async def _serve(job: ServeJob, listener: socket.socket, version: str) -> None:
    models = Models(job.models, job.limits)
    predictions = PredictionLog(job.log_folder) if job.log_folder else None
    app = App(models, job.limits, version, job.keys, predictions)
    server = _Server(app, job)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    answering = asyncio.create_task(server.serve([listener]))
    cutting = asyncio.create_task(app.cut_slow_clients())
    try:
        await _load(models, stopping)
        await stopping.wait()
        log.info("draining")
        app.is_draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(job.limits.drain_s):
                await models.drain()
    finally:
        cutting.cancel()
        server.should_exit = True
        await answering
        if predictions:
            await asyncio.to_thread(predictions.close)
    log.info("stopped")


async def _load(models: Models, stopping: asyncio.Event) -> None:
    """Every model, until somebody wants to stop."""
    for slot in models:
        loading = asyncio.create_task(models.load(slot.name))
        wanted = asyncio.create_task(stopping.wait())
        await asyncio.wait((loading, wanted), return_when=asyncio.FIRST_COMPLETED)
        wanted.cancel()
        if stopping.is_set():
            return
        try:
            model = await loading
        except MlkitError as error:
            log.error("model %s is refused: %s", slot.name, error)  # noqa: TRY400 - it is no bug
            raise
        log.info("model %s is ready (%s)", slot.name, model.digest)


class _Server(uvicorn.Server):
    """Signals are this process's affair, not uvicorn's."""

    def __init__(self, app: App, job: ServeJob) -> None:
        tls = job.tls
        config = uvicorn.Config(
            app,
            loop="none",
            http=Connection,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(job.limits.drain_s)),
            ssl_context_factory=(lambda _config, _default: tls.context()) if tls else None,
        )
        super().__init__(config)
        self._read_timeout_s = job.limits.read_timeout_s

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second. Whether to stop."""
        if counter % LOOK_TICKS == 0:
            cut_stuck(self.server_state.connections, self._read_timeout_s)
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield
