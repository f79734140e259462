"""Uvicorn around the application: connections, HTTP/1.1, keep-alive."""

import asyncio
import contextlib
import socket
import time
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import uvicorn

from mlops_kit.modes.online.http.app import App
from mlops_kit.modes.online.http.connection import Connection, cut_stuck
from mlops_kit.modes.online.http.messages import CLOSE
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.listening import accept_rest, turn_away
from mlops_kit.modes.online.traffic import Traffic

LAST_REQUESTS_S = 1.0
"""How long a client that is connected may take to ask, before its connection is closed on it."""

LOOK_S = 0.05
"""How often it is looked whether connections are closed."""

CUT_S, LAST_ANSWERS_S = 0.05, 1.0
"""How long requests that are given up may take to notice that their client is cut, and to be answered."""


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

    async def give_up(self) -> None:
        """Answer at once that the server stops, whatever is still being answered."""
        self._app.is_giving_up = True
        state = self._server.server_state
        for connection in [*state.connections]:
            if isinstance(connection, Connection):
                connection.cut_if_answered()
        if state.tasks:
            await asyncio.wait([*state.tasks], timeout=CUT_S)
        for task in [*state.tasks]:
            task.cancel()
        if state.tasks:
            await asyncio.wait([*state.tasks], timeout=LAST_ANSWERS_S)
        if self._answering:
            self._answering.cancel()
        if self._cutting:
            self._cutting.cancel()


class _Server(uvicorn.Server):
    """Signals are the process's affair, not uvicorn's."""

    def __init__(self, app: App, job: ServeJob) -> None:
        tls = job.tls
        self._arriving: weakref.WeakSet[Connection] = weakref.WeakSet()
        config = uvicorn.Config(
            app,
            loop="none",
            http=partial(Connection, app, self._arriving),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Where uvicorn's would reset who has just come, and close on who is about to ask, this answers them."""
        state = self.server_state
        state.default_headers = [*state.default_headers, CLOSE]
        await asyncio.gather(*map(turn_away, sockets or ()))
        listeners = [listener.dup() for listener in sockets or ()]
        for door in (*self.servers, *(sockets or ())):
            door.close()
        last = [self._take(one) for listener in listeners for one in accept_rest(listener)]
        for connection in [*state.connections]:
            connection.shutdown()
        until = time.monotonic() + LAST_REQUESTS_S
        taking = asyncio.gather(*last, return_exceptions=True)
        while time.monotonic() < until and (state.connections or self._arriving or not taking.done()):
            await asyncio.sleep(LOOK_S)
        for connection in [*state.connections]:
            if isinstance(connection, Connection):
                connection.close_if_idle()
        while state.connections or state.tasks:
            cut_stuck(state.connections, self._read_timeout_s)
            await asyncio.sleep(LOOK_S)

    async def _take(self, accepted: socket.socket) -> None:
        """What uvicorn does with the connections of a listener."""
        config = self.config
        kind: Any = config.http_protocol_class
        protocol = partial(kind, config=config, server_state=self.server_state, app_state=self.lifespan.state)
        await asyncio.get_running_loop().connect_accepted_socket(protocol, accepted, ssl=config.ssl)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield
