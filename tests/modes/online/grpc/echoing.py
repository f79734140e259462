"""The server beneath the gRPC door with handlers that echo, in this process, and a client that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from jh2 import events
from jh2.config import H2Configuration
from jh2.connection import H2Connection
from jh2.settings import SettingCodes, Settings

from mlops_kit.errors import UnauthorizedError
from mlops_kit.modes.online.grpc.http2.server import Http2Server

MOST_BYTES = 8 * 2**20
WAIT_S = 20
CONTENT_TYPE = [("content-type", "application/grpc"), ("te", "trailers")]


@dataclass
class Noting:
    """Keeps out who names no key for Guarded, and notes failures."""

    failures: list[tuple[bytes, int]] = field(default_factory=list)

    def admit(self, path: bytes, headers: Mapping[bytes, bytes]) -> None:
        if path == b"/echo.Echo/Guarded" and b"x-api-key" not in headers:
            raise UnauthorizedError

    def note_failure(self, path: bytes, status: int, seconds: float) -> None:
        self.failures.append((path, status))


@dataclass
class Echoing:
    """A server, and what its handlers know."""

    server: Http2Server
    doorkeeper: Noting
    port: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    metadata: Any = ()

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", [("grpc.max_receive_message_length", -1)])


def make_handlers(this: Echoing) -> grpc.GenericRpcHandler:
    async def echo(data: bytes, context: Any) -> bytes:
        this.metadata = context.invocation_metadata()
        await asyncio.sleep(0)
        return data

    async def echo_all(data: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for part in data:
            yield part

    async def hang(_data: bytes, _context: Any) -> bytes:
        this.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            this.cancelled.set()
        return b""

    async def say_much(_data: bytes, _context: Any) -> bytes:
        this.begun.set()
        return bytes(MOST_BYTES)

    calls: dict[str, Any] = {
        "Much": grpc.unary_unary_rpc_method_handler(say_much),
        "One": grpc.unary_unary_rpc_method_handler(echo),
        "All": grpc.stream_stream_rpc_method_handler(echo_all),  # type: ignore[arg-type]
        "Guarded": grpc.unary_unary_rpc_method_handler(echo),
        "Hang": grpc.unary_unary_rpc_method_handler(hang),
    }
    return grpc.method_handlers_generic_handler("echo.Echo", calls)


@asynccontextmanager
async def echoing(read_timeout_s: float = 60, port: int = 0) -> AsyncIterator[Echoing]:
    doorkeeper = Noting()
    server = Http2Server(MOST_BYTES, read_timeout_s, doorkeeper)
    this = Echoing(server, doorkeeper)
    server.add_generic_rpc_handlers((make_handlers(this),))
    this.port = await server.listen("127.0.0.1", port)
    yield this
    await server.stop(0)


class Client:
    """One that shows what it hears, and gives the server room only where it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.h2 = H2Connection(H2Configuration())
        self.reader = reader
        self.writer = writer
        self.heard: list[Any] = []
        self.h2.local_settings = Settings(initial_values={SettingCodes.INITIAL_WINDOW_SIZE: 2**16 - 1})
        self.h2.initiate_connection()

    def tell(self) -> None:
        """Send what there is to be sent."""
        self.writer.write(self.h2.data_to_send())

    def ask(self, stream_id: int, call: str) -> None:
        """The headers of a call."""
        path = f"/echo.Echo/{call}"
        headers = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", path), *CONTENT_TYPE]
        self.h2.send_headers(stream_id, headers)

    async def hear_until(self, is_heard: Callable[[Any], bool]) -> Any:
        """The first event like that."""
        while True:
            for event in self.heard:
                if is_heard(event):
                    return event
            self.tell()
            data = await asyncio.wait_for(self.reader.read(2**16), WAIT_S)
            assert data, "the server closed the connection"
            self.heard = self.h2.receive_data(data)

    async def hear(self, kind: type[events.Event], stream_id: int | None = None) -> Any:
        """The first event of a kind."""
        return await self.hear_until(
            lambda event: isinstance(event, kind) and stream_id in (None, getattr(event, "stream_id", None))
        )


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Client(reader, writer)
    writer.close()
