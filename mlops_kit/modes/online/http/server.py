"""Uvicorn around the application: connections, HTTP/1.1, keep-alive."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial

import uvicorn

from mlops_kit.modes.online.http.app import App
from mlops_kit.modes.online.http.connection import Connection, cut_stuck
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.traffic import Traffic


class HttpServer:
    """Opens and closes the door. Made and used on one event loop."""

    def __init__(self, app: App, job: ServeJob, traffic: Traffic) -> None:
        self._app = app
        self._server = _Server(app, job)
        traffic.watch(self._server.server_state.tasks)
        self._answering: asyncio.Task[None] | None = None
        self._cutting: asyncio.Task[None] | None = None

    def open(self, listener: socket.socket) -> None:
        """Take connections from now on."""
        self._answering = asyncio.create_task(self._server.serve([listener]))
        self._cutting = asyncio.create_task(self._app.reader.cut_slow_clients())

    async def close(self) -> None:
        """Take no more connections, and wait for what is being answered."""
        self._server.should_exit = True
        if self._answering:
            await asyncio.wait([self._answering])
        if self._cutting:
            self._cutting.cancel()


class _Server(uvicorn.Server):
    """Signals are the process's affair, not uvicorn's."""

    def __init__(self, app: App, job: ServeJob) -> None:
        tls = job.tls
        config = uvicorn.Config(
            app,
            loop="none",
            http=partial(Connection, app.gate),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, round(job.limits.drain_s)),
            ssl_context_factory=(lambda _config, _default: tls.context()) if tls else None,
        )
        super().__init__(config)
        self._read_timeout_s = job.limits.read_timeout_s
        # In tenths of a second: a tenth of what they are given.
        self._look_ticks = max(1, round(self._read_timeout_s))

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second. Whether to stop."""
        if counter % self._look_ticks == 0:
            cut_stuck(self.server_state.connections, self._read_timeout_s)
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield
