"""Requests over HTTP/1.1 on connections that are kept, and a server that does nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from mlops_kit.bench.load.interface import Asker

GAP = b"\r\n\r\n"
LENGTH = b"content-length:"
NOTHING = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """`requests` are whole, head and body."""

    port: int
    requests: Sequence[bytes]
    host: str = "127.0.0.1"
    most_connections: int = 1000

    async def connect(self, asker: Asker) -> "HttpConnection":
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: HttpConnection(asker), self.host, self.port)
        return connection

    def at(self, port: int) -> "HttpTarget":
        """The same requests to another port of this machine."""
        return replace(self, port=port, host="127.0.0.1")

    def do_nothing(self) -> asyncio.Protocol:
        """A connection of a server that does not look at what it is asked."""
        return NothingOverHttp()


def http_request(path: str, body: bytes, host: str = "localhost") -> bytes:
    """A POST of JSON."""
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + GAP + body


class HttpConnection(asyncio.Protocol):
    """One request at a time. The answers have to tell their length."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._transport: asyncio.Transport
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        """It can be used."""
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        """Of a timeout, too."""
        self._asker.lost(self)

    def send(self, request: bytes) -> None:
        """Send it whole."""
        self._transport.write(request)

    def close(self) -> None:
        """At once."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """A part of the answer, or all of it."""
        data = self._data + data
        end = data.find(GAP)
        if end < 0:
            self._data = data
            return
        status, length = read_head(data[:end])
        if length is None or len(data) > end + len(GAP) + length:
            self._asker.answered(self, "an answer whose end is unclear")
            self.close()
        elif len(data) == end + len(GAP) + length:
            self._data = b""
            self._asker.answered(self, "" if status == "200" else f"HTTP {status}")
        else:
            self._data = data


class NothingOverHttp(asyncio.Protocol):
    """Answers every request with the same bytes."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        """It can be used."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Only finds where a request ends."""
        self._data += data
        end = self._data.find(GAP)
        if end >= 0 and len(self._data) >= end + len(GAP) + (read_head(self._data[:end])[1] or 0):
            self._data = b""
            self._transport.write(NOTHING)


@lru_cache(maxsize=4096)
def read_head(head: bytes) -> tuple[str, int | None]:
    r"""The status, and the length of the body if it is told. Heads are few, and repeat.

    >>> read_head(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nserver: x")
    ('200', 12)
    """
    _, _, rest = head.lower().partition(LENGTH)
    length = rest.partition(b"\r\n")[0].strip()
    return head[9:12].decode("ascii", "replace"), int(length) if length.isdigit() else None
