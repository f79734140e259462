"""Calls over HTTP/2, and a server that does nothing.

A client library spends several times more on a call than the server that it asks. Here the frames of a request are
built before it is sent, and of the answer only the ends are looked at: https://www.rfc-editor.org/rfc/rfc9113 and
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

import asyncio
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from mlops_kit.bench.load.interface import Asker

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 1
END_HEADERS = 4
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
FIRST_WINDOW = 2**16 - 1
LARGEST_WINDOW = 2**31 - 1
FRAME_BYTES = 2**14
HEAD = struct.Struct(">I")
SETTING = struct.Struct(">HI")


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    """A frame as it is sent."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


ALL_ROOM = SETTING.pack(INITIAL_WINDOW_SIZE, LARGEST_WINDOW)
# Without a table, a block of headers means the same wherever it stands.
GREETING = frame(SETTINGS, 0, 0, SETTING.pack(HEADER_TABLE_SIZE, 0) + ALL_ROOM)
MORE_ROOM = LARGEST_WINDOW - FIRST_WINDOW


@dataclass(frozen=True, slots=True)
class GrpcTarget:
    """`path` is that of a call with one message each way; `requests` are messages, without gRPC's prefix."""

    port: int
    path: str
    requests: Sequence[bytes]
    host: str = "127.0.0.1"
    most_connections: int = 1000

    async def connect(self, asker: Asker) -> "GrpcConnection":
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: GrpcConnection(asker, f"{self.host}:{self.port}", self.path), self.host, self.port
        )
        return connection

    def at(self, port: int) -> "GrpcTarget":
        """The same requests to another port of this machine."""
        return replace(self, port=port, host="127.0.0.1")

    def do_nothing(self) -> asyncio.Protocol:
        """A connection of a server that does not look at what it is asked."""
        return NothingOverGrpc()


class Frames:
    """Finds frames in what comes."""

    def __init__(self, skip: int = 0) -> None:
        self._data = b""
        self._skip = skip

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of those that are complete now."""
        data, at = self._data + data, self._skip
        while len(data) >= at + 9:
            size = HEAD.unpack_from(data, at)[0] >> 8
            if len(data) < at + 9 + size:
                break
            stream = HEAD.unpack_from(data, at + 5)[0] & LARGEST_WINDOW
            yield data[at + 3], data[at + 4], stream, data[at + 9 : at + 9 + size]
            at += 9 + size
        self._skip = max(0, at - len(data))
        self._data = data[at:]


class GrpcConnection(asyncio.Protocol):
    """One call at a time."""

    def __init__(self, asker: Asker, authority: str, path: str) -> None:
        self._asker = asker
        self._blocks = request_blocks(authority, path)
        self._transport: asyncio.Transport
        self._frames = Frames()
        self._stream = -1
        self._unsent = memoryview(b"")
        self._room, self._stream_room, self._first_stream_room = FIRST_WINDOW, 0, FIRST_WINDOW
        self._unread = 0

    def connection_made(self, transport: Any) -> None:
        """Greet the server."""
        self._transport = transport
        transport.write(PREFACE + GREETING + frame(WINDOW_UPDATE, 0, 0, HEAD.pack(MORE_ROOM)))

    def connection_lost(self, _error: Exception | None) -> None:
        """Of a timeout, too."""
        self._asker.lost(self)

    def close(self) -> None:
        """At once."""
        self._transport.abort()

    def send(self, request: bytes) -> None:
        """Send it as far as the server has room, and the rest later."""
        self._stream += 2
        self._stream_room = self._first_stream_room
        self._unsent = memoryview(struct.pack(">BI", 0, len(request)) + request)
        block = self._blocks[self._stream > 1]
        self._pump(frame(HEADERS, END_HEADERS, self._stream, block))

    def _pump(self, before: bytes = b"") -> None:
        parts = [before]
        while self._unsent and (room := min(self._room, self._stream_room, FRAME_BYTES)) > 0:
            payload, self._unsent = self._unsent[:room], self._unsent[room:]
            self._room -= len(payload)
            self._stream_room -= len(payload)
            parts.append(frame(DATA, 0 if self._unsent else END_STREAM, self._stream, payload))
        self._transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        """Look for the end of the answer, and for room."""
        for kind, flags, stream, payload in self._frames.feed(data):
            if kind == DATA:
                self._give_room(len(payload))
            elif kind == HEADERS and flags & END_STREAM and stream == self._stream:
                self._asker.answered(self, problem_of(payload))
            elif kind == WINDOW_UPDATE:
                self._take_room(stream, HEAD.unpack(payload)[0])
            elif kind == SETTINGS and not flags & ACK:
                self._obey(payload)
            elif kind == PING and not flags & ACK:
                self._transport.write(frame(PING, ACK, 0, payload))
            elif kind == RST_STREAM and stream == self._stream:
                self._asker.answered(self, "the server reset the stream")
            elif kind == GOAWAY:
                self.close()

    def _give_room(self, size: int) -> None:
        self._unread += size
        if self._unread > MORE_ROOM // 2:
            self._transport.write(frame(WINDOW_UPDATE, 0, 0, HEAD.pack(self._unread)))
            self._unread = 0

    def _take_room(self, stream: int, size: int) -> None:
        if stream == 0:
            self._room += size
        elif stream == self._stream:
            self._stream_room += size
        if self._unsent:
            self._pump()

    def _obey(self, payload: bytes) -> None:
        for name, value in SETTING.iter_unpack(payload):
            if name == INITIAL_WINDOW_SIZE:
                self._stream_room += value - self._first_stream_room
                self._first_stream_room = value
        self._transport.write(frame(SETTINGS, ACK, 0))
        if self._unsent:
            self._pump()


class NothingOverGrpc(asyncio.Protocol):
    """Answers every call with an empty message."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._frames = Frames(skip=len(PREFACE))
        self._unread = 0
        self._headers, self._trailers = answer_blocks()

    def connection_made(self, transport: Any) -> None:
        """Give the client all the room there is."""
        self._transport = transport
        transport.write(frame(SETTINGS, 0, 0, ALL_ROOM) + frame(WINDOW_UPDATE, 0, 0, HEAD.pack(MORE_ROOM)))

    def data_received(self, data: bytes) -> None:
        """Only finds where a call's message ends."""
        answers = []
        for kind, flags, stream, payload in self._frames.feed(data):
            if kind == SETTINGS and not flags & ACK:
                answers.append(frame(SETTINGS, ACK, 0))
            if kind == DATA:
                self._unread += len(payload)
                if flags & END_STREAM:
                    answers += [
                        frame(HEADERS, END_HEADERS, stream, self._headers),
                        frame(DATA, 0, stream, b"\0\0\0\0\0"),
                        frame(HEADERS, END_HEADERS | END_STREAM, stream, self._trailers),
                    ]
        if self._unread > MORE_ROOM // 2:
            answers.append(frame(WINDOW_UPDATE, 0, 0, HEAD.pack(self._unread)))
            self._unread = 0
        self._transport.write(b"".join(answers))


def request_blocks(authority: str, path: str) -> tuple[bytes, bytes]:
    """The headers of a connection's first call, and those of all later ones, which refer to the first's."""
    from jh2.hpack import Encoder

    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b":authority", authority.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    encoder = Encoder()
    return encoder.encode(headers), encoder.encode(headers)


def answer_blocks() -> tuple[bytes, bytes]:
    """Headers and trailers of a call that went well, which refer to no others."""
    from jh2.hpack import Encoder

    encoder = Encoder()
    encoder.header_table_size = 0
    return (
        encoder.encode([(b":status", b"200"), (b"content-type", b"application/grpc")]),
        encoder.encode([(b"grpc-status", b"0")]),
    )


@lru_cache(maxsize=4096)
def problem_of(block: bytes) -> str:
    """What the last headers of an answer say; empty if all is well. Blocks are few, and repeat."""
    from jh2.hpack import Decoder

    headers = {bytes(name): bytes(value) for name, value in Decoder().decode(block, raw=True)}
    if (http := headers.get(b":status", b"200")) != b"200":
        return f"HTTP {http.decode()}"
    status = headers.get(b"grpc-status", b"missing").decode()
    return "" if status == "0" else f"gRPC status {status}"
