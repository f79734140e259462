"""Servers whose speed is known, because it was planted. Each is in a process of its own."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Protocol

from mlops_kit.bench.load.http import GAP, NOTHING, HttpTarget, http_request, read_head

REFUSED = NOTHING.replace(b"200 OK", b"429 Too Many Requests")
SPAWN = get_context("spawn")
REQUESTS = [http_request("/", b"x" * 100)]

Answer = Callable[[bytes], None]


class Behaviour(Protocol):
    """What a server does with a request."""

    def begin(self) -> None:
        """On its event loop, before the first request."""

    def answer(self, send: Answer, close: Callable[[], None]) -> None: ...


@dataclass
class Sleeping:
    """Every request takes so long; they do not disturb each other."""

    seconds: float

    def begin(self) -> None: ...

    def answer(self, send: Answer, close: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self.seconds, send, NOTHING)


@dataclass
class Working:
    """Every request keeps the server's only thread busy for so long."""

    seconds: float

    def begin(self) -> None: ...

    def answer(self, send: Answer, close: Callable[[], None]) -> None:
        until = time.perf_counter() + self.seconds
        while time.perf_counter() < until:
            pass
        send(NOTHING)


@dataclass
class Capacity:
    """Requests are done one after the other, so many in a second."""

    per_s: float
    free_at: float = 0.0

    def begin(self) -> None: ...

    def answer(self, send: Answer, close: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.free_at = max(loop.time(), self.free_at) + 1 / self.per_s
        loop.call_at(self.free_at, send, NOTHING)


@dataclass
class Refusing:
    """Requests beyond a rate are refused at once; so many may come together."""

    per_s: float
    burst: int
    free_at: float = 0.0

    def begin(self) -> None: ...

    def answer(self, send: Answer, close: Callable[[], None]) -> None:
        now = time.monotonic()
        is_taken = self.free_at - now < self.burst / self.per_s
        if is_taken:
            self.free_at = max(now, self.free_at) + 1 / self.per_s
        send(NOTHING if is_taken else REFUSED)


@dataclass
class Stalling:
    """Answers at once, but every so often does nothing at all for a while."""

    every_s: float
    for_s: float

    def begin(self) -> None:
        self.loop, self.next = asyncio.get_running_loop(), time.monotonic() + self.every_s / 2
        self.loop.call_later(self.every_s / 2, self._stall)

    def _stall(self) -> None:
        until = self.next + self.for_s
        while (left := until - time.monotonic()) > 0:
            time.sleep(left)
        self.next += self.every_s
        self.loop.call_later(self.next - time.monotonic(), self._stall)

    def answer(self, send: Answer, close: Callable[[], None]) -> None:
        send(NOTHING)


@dataclass
class Hanging:
    """Answers every `nth` request only."""

    nth: int
    count: int = 0

    def begin(self) -> None: ...

    def answer(self, send: Answer, close: Callable[[], None]) -> None:
        self.count += 1
        if self.count % self.nth == 0:
            send(NOTHING)


@dataclass
class HangingUp:
    """Closes the connection on every `nth` request, and answers the others in 10 ms."""

    nth: int
    count: int = 0

    def begin(self) -> None: ...

    def answer(self, send: Answer, close: Callable[[], None]) -> None:
        self.count += 1
        if self.count % self.nth:
            asyncio.get_running_loop().call_later(0.01, send, NOTHING)
        else:
            close()


@contextmanager
def planted(behaviour: Behaviour) -> Iterator[HttpTarget]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(theirs, behaviour), daemon=True)
    process.start()
    theirs.close()
    try:
        yield HttpTarget(ours.recv(), REQUESTS)
    finally:
        process.kill()
        process.join()


def _serve(pipe: Any, behaviour: Behaviour) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        behaviour.begin()
        server = await loop.create_server(lambda: _Connection(behaviour), "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


class _Connection(asyncio.Protocol):
    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour, self._data = behaviour, b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(GAP)
        if end >= 0 and len(self._data) == end + len(GAP) + (read_head(self._data[:end])[1] or 0):
            self._data = b""
            self._behaviour.answer(self._transport.write, self._transport.close)
