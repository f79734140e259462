"""The client and the server that does nothing, each in a process of its own.

Both end when this process does, however it ends: they see that nobody holds the other end of their pipe.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from typing import Any

from mlops_kit.bench.load.client import Client
from mlops_kit.bench.load.interface import Load, LoadResult, ServerTarget, Target
from mlops_kit.errors import StoreError

SPAWN = get_context("spawn")
BACKLOG = 1024
STOP_S = 5.0


class LoadProcess:
    """Runs one load after the other."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def run(self, target: Target, load: Load) -> LoadResult:
        """Raises StoreError if nobody answers at all."""
        self._pipe.send((target, load))
        try:
            came = self._pipe.recv()
        except EOFError as error:
            raise StoreError("the load client ended unexpectedly", fix="look for what killed it") from error
        if isinstance(came, OSError):
            raise StoreError("the load client cannot connect", came.strerror or str(came)) from came
        if isinstance(came, BaseException):
            raise came
        result: LoadResult = came
        return result


@contextmanager
def load_process() -> Iterator[LoadProcess]:
    """A client, until the block ends."""
    with _process(_run_loads) as pipe:
        yield LoadProcess(pipe)


@contextmanager
def null_server(target: ServerTarget) -> Iterator[ServerTarget]:
    """The same requests, but to a server that does nothing."""
    with _process(_serve_nothing) as pipe:
        pipe.send(target)
        yield target.at(pipe.recv())


@contextmanager
def _process(run: Callable[[Pipe], None]) -> Iterator[Pipe]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=run, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.terminate()
        process.join(STOP_S)


def _run_loads(pipe: Pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            target, load = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_run_on_fast_loop(Client(target, load), pipe))
        except Exception as error:  # noqa: BLE001 - the edge: it is raised anew in the other process
            pipe.send(error)


def _serve_nothing(pipe: Pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    target: ServerTarget = pipe.recv()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(target.do_nothing, "127.0.0.1", 0, backlog=BACKLOG)
        ended = asyncio.Event()
        loop.add_reader(pipe.fileno(), ended.set)
        pipe.send(server.sockets[0].getsockname()[1])
        await ended.wait()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve())


def _run_on_fast_loop(client: Client, pipe: Pipe) -> LoadResult:
    async def run() -> LoadResult:
        # While a load runs, nothing comes but the end.
        asyncio.get_running_loop().add_reader(pipe.fileno(), os._exit, 1)
        return await client.run()

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(run())
    finally:
        os.set_blocking(pipe.fileno(), True)  # uvloop has changed that


def _loop_factory() -> Callable[[], Any] | None:
    """uvloop's, where the extra of the server is installed; asyncio's own is enough for stored answers."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
