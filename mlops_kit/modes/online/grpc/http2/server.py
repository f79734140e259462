"""The server: handlers by path, connections, and the end of both."""

import asyncio
import contextlib
import logging
import ssl
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from mlops_kit.errors import InputError, MlkitError
from mlops_kit.modes.online.grpc.failures import BUG
from mlops_kit.modes.online.grpc.http2.call import Call, Handler
from mlops_kit.modes.online.grpc.http2.calls import Calls, Doorkeeper
from mlops_kit.modes.online.grpc.http2.connection import Connection
from mlops_kit.modes.online.grpc.http2.framing import AbortError, frame
from mlops_kit.modes.online.listening import BACKLOG, accept_rest, turn_away

log = logging.getLogger("mlkit.serve")

LOOK_S = 0.25
"""How often slow clients are looked for, and, while stopping, those that are still there."""


@dataclass(slots=True)
class _Details:
    """What grpcio's generic handlers are asked with."""

    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...] = ()


class Http2Server:
    """Takes handlers as grpc.aio.Server does. Used on one event loop."""

    def __init__(self, most_bytes: int, read_timeout_s: float, doorkeeper: Doorkeeper) -> None:
        """`most_bytes` is for each message, also after decompression."""
        self.most_bytes = most_bytes
        self.doorkeeper = doorkeeper
        self.connections: set[Connection] = set()
        self.arriving: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._read_timeout_s = read_timeout_s
        self._generic: list[grpc.GenericRpcHandler] = []
        self._found: dict[bytes, Handler] = {}
        self._server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None
        self._cutting: asyncio.Task[None] | None = None

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """The calls of a service."""
        self._generic.extend(handlers)

    def add_registered_method_handlers(self, _service: str, _handlers: Any) -> None:
        """The same calls once more: generated code adds them in both ways."""

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Take connections from now on; returns the port, which other processes may share. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._tls = tls
        self._server = await loop.create_server(
            lambda: Connection(self),
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=self._read_timeout_s if tls else None,
            reuse_port=True,
            backlog=BACKLOG,
        )
        self._cutting = asyncio.create_task(self._cut_slow_clients())
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def stop(self, grace_s: float) -> None:
        """Ask clients to go elsewhere, and wait until what has begun is answered, for so long at most."""
        if self._server is None or self._cutting is None:
            return
        until = time.perf_counter() + grace_s
        taking = asyncio.create_task(self._take_last())
        while time.perf_counter() < until and not (taking.done() and not self.connections and not self.arriving):
            for connection in [*self.connections]:
                connection.drain()
            await asyncio.sleep(min(LOOK_S, grace_s) / 10)
        taking.cancel()
        self._server.close()
        self._cutting.cancel()
        for connection in [*self.connections]:
            connection.close()

    def find(self, path: bytes) -> Handler | None:
        """The handler of a path."""
        if path not in self._found:
            details = _Details(path.decode("ascii", "replace"))
            handlers = (generic.service(details) for generic in self._generic)
            found = next((handler for handler in handlers if handler), None)
            if found is None:
                return None
            self._found[path] = found
        return self._found[path]

    async def answer(self, calls: Calls, call: Call) -> None:
        """Run a call's handler, and end the call."""
        handler = call.handler
        try:
            if call.is_streaming:
                await _answer_stream(call, handler)
            else:
                asked = _read(handler, call.only_message())
                answer = await handler.unary_unary(asked, call)
                call.outgoing = frame(_written(handler, answer))
        except AbortError as error:
            calls.fail(call, error)
        except MlkitError as error:
            calls.refuse(call, error)
        except Exception:
            log.exception("a gRPC call failed")
            calls.fail(call, AbortError(grpc.StatusCode.INTERNAL, BUG))
        else:
            calls.succeed(call)

    async def _take_last(self) -> None:
        """Those who have connected; nobody else comes in."""
        if self._server is None:
            return
        with contextlib.ExitStack() as kept:
            listeners = [kept.enter_context(listener.dup()) for listener in self._server.sockets]
            await asyncio.gather(*map(turn_away, listeners))
            self._server.close()
            last = [one for listener in listeners for one in accept_rest(listener)]
        loop = asyncio.get_running_loop()
        taking = [loop.connect_accepted_socket(lambda: Connection(self), one, ssl=self._tls) for one in last]
        await asyncio.gather(*taking, return_exceptions=True)

    async def _cut_slow_clients(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.perf_counter()
            for connection in [*self.connections]:
                connection.cut_if_slow(now, self._read_timeout_s)


async def _answer_stream(call: Call, handler: Handler) -> None:
    if handler.request_streaming:
        answers = handler.stream_stream(_Requests(call, handler), call)
    else:
        first = await call.read()
        if first is grpc.aio.EOF:
            raise InputError("the call takes one message")
        answers = handler.unary_stream(_read(handler, first), call)
    async with contextlib.aclosing(answers):
        async for answer in answers:
            await call.write(_written(handler, answer))


class _Requests:
    """Those of a stream, as its handler iterates over them."""

    def __init__(self, call: Call, handler: Handler) -> None:
        self._call = call
        self._handler = handler

    def __aiter__(self) -> "_Requests":
        return self

    async def __anext__(self) -> Any:
        message = await self._call.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return _read(self._handler, message)


def _read(handler: Handler, message: bytes) -> Any:
    read: Callable[[bytes], Any] | None = handler.request_deserializer
    try:
        return read(message) if read else message
    except DecodeError as error:
        raise InputError("the message cannot be read") from error


def _written(handler: Handler, answer: Any) -> bytes:
    write: Callable[[Any], bytes] | None = handler.response_serializer
    return write(answer) if write else answer
