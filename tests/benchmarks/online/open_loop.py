"""Requests at a given rate, whether or not earlier ones were answered, as users send them.

Latency counts from the moment that a request was scheduled for, so that a client that is held up hides nothing.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import uvloop

TICK_S = 0.001
HEAD = "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"


@dataclass
class Results:
    """`latencies_s` are those of requests answered with 200; `unsent` found no free connection."""

    outcomes: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    unsent: int = 0
    cpu_share: float = 0.0


def send_at_rate(url: str, bodies: Sequence[bytes], rate: float, seconds: float, connections: int) -> Results:
    """Poisson arrivals over at most so many connections."""
    return uvloop.run(_Client(url, bodies, connections).run(rate, seconds))


class _Client:
    def __init__(self, url: str, bodies: Sequence[bytes], connections: int) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        head = {"path": parts.path, "host": parts.netloc}
        self._requests = [HEAD.format(**head, length=len(body)).encode() + body for body in bodies]
        self._most = connections
        self._idle: list[_Connection] = []
        self.results = Results()

    async def run(self, rate: float, seconds: float) -> Results:
        loop = asyncio.get_running_loop()
        for _ in range(self._most):
            await loop.create_connection(lambda: _Connection(self), *self._address)
        chance = random.Random(0)
        started, cpu = time.perf_counter(), time.process_time()
        due, sent = started, 0
        while (now := time.perf_counter()) < started + seconds:
            while due <= now:
                if self._idle:
                    self._idle.pop().send(self._requests[sent % len(self._requests)], due)
                    sent += 1
                else:
                    self.results.unsent += 1
                due += chance.expovariate(rate)
            await asyncio.sleep(TICK_S)
        self.results.cpu_share = (time.process_time() - cpu) / (time.perf_counter() - started)
        await asyncio.sleep(2)
        return self.results

    def is_free(self, connection: "_Connection") -> None:
        self._idle.append(connection)

    def is_lost(self, connection: "_Connection") -> None:
        """A server may end connections that nobody used for some seconds."""
        if connection in self._idle:
            self._idle.remove(connection)
        else:
            self.results.outcomes["lost"] += 1


class _Connection(asyncio.Protocol):
    def __init__(self, client: _Client) -> None:
        self._client = client
        self._scheduled = 0.0
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._client.is_free(self)

    def send(self, request: bytes, scheduled: float) -> None:
        self._scheduled = scheduled
        self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, gap, body = self._data.partition(b"\r\n\r\n")
        if not gap or len(body) < _length(head):
            return
        self._data = b""
        status = head[9:12].decode()
        self._client.results.outcomes[status] += 1
        if status == "200":
            self._client.results.latencies_s.append(time.perf_counter() - self._scheduled)
        self._client.is_free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.is_lost(self)


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])
