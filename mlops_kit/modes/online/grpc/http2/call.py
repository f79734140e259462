"""One call, as its handler sees it."""

import asyncio
import base64
import binascii
import time
from collections.abc import Hashable, Sequence
from typing import Any, NoReturn, Protocol, TypeAlias

import grpc

from mlops_kit.errors import InputError
from mlops_kit.modes.online.grpc.http2.framing import AbortError, MessageReader, frame, parse_timeout
from mlops_kit.modes.online.grpc.http2.patience import Patience

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Handler: TypeAlias = Any
"""A grpc.RpcMethodHandler; its types are those of handlers that are not asynchronous."""

FIRST_BYTES = 2**16 - 1
"""What a client may send from the start, by the specification."""

STEP_BYTES = 2**16
"""A client that reads takes so much of an answer before the server's patience ends."""


class Owner(Protocol):
    """What a call asks of its connection."""

    def pump(self, call: "Call") -> None:
        """Send what is outgoing, as far as the client has room."""

    def free(self, call: "Call") -> None:
        """A message was taken: the client may send more."""


class Call:
    """The part of grpc.aio.ServicerContext that handlers use, and what its connection keeps about it."""

    def __init__(
        self, owner: Owner, stream_id: int, handler: Handler, headers: Headers, reader: MessageReader
    ) -> None:
        self.stream_id = stream_id
        self.handler = handler
        self.is_streaming = bool(handler and (handler.request_streaming or handler.response_streaming))
        """Whether there may be several messages, asked or answered."""
        self.reader = reader
        self.began = time.perf_counter()
        self.task: asyncio.Task[None] | None = None
        self.is_ended = False
        """Whether the client has sent all."""
        self.is_begun = False
        """Whether the answer's headers are sent."""
        self.outgoing = b""
        self.sent = self.sent_in_all = 0
        """How many bytes are sent of what is outgoing, and of all answers."""
        self.trailers: Headers | None = None
        self.opened_bytes = FIRST_BYTES
        """How many the client may send in all, as far as it was told."""
        self.padding_bytes = self.extra_bytes = 0
        """What came and is in no message; what the message at the front has of the connection's room."""
        self._owner = owner
        self._headers = headers
        self._is_stopped = False
        self._patience: Patience | None = None
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def path(self) -> bytes:
        """The service and the call."""
        return next(value for name, value in self._headers if name == b":path")

    @property
    def closed_bytes(self) -> int:
        """How many more the client may send, and was not told so."""
        gone = self.reader.taken + self.padding_bytes
        return gone + FIRST_BYTES + self.extra_bytes - self.opened_bytes

    @property
    def lacks_room(self) -> bool:
        """Whether the client may not send all of the message at the front."""
        return self.reader.front > self.opened_bytes - self.reader.taken - self.padding_bytes

    def feed(self, data: bytes) -> None:
        """A part of a message, or several, have come."""
        self.reader.feed(data)
        _wake(self._news)

    def end(self) -> None:
        """No more will come."""
        self.is_ended = True
        _wake(self._news)

    def stop(self) -> None:
        """Take what has come for all, because the server stops."""
        self._is_stopped = True
        _wake(self._news)

    def has_room(self) -> None:
        """All that was outgoing is sent."""
        _wake(self._room)

    def waited_s(self, now: float) -> float:
        """How long the client has owed its next step; is asked now and then."""
        self._patience = self._patience or Patience()
        return self._patience.waited_s(self._owed, now)

    @property
    def _owed(self) -> Hashable:
        if self.outgoing:
            return "room for the answer", self.sent_in_all // STEP_BYTES
        if self.task is None:
            return "the request"
        return ("the rest of a message", self.reader.taken) if self.reader.has_part else None

    def only_message(self) -> bytes:
        """Of a call that takes one. Raises InputError, and what MessageReader.take does."""
        message = self.reader.take()
        if message is None or not self.reader.is_empty:
            raise InputError("the call takes one message, and that in full")
        self._owner.free(self)
        return message

    async def read(self) -> Any:
        """The next message, or grpc.aio.EOF. Raises what MessageReader.take does."""
        while (message := self.reader.take()) is None:
            if self.is_ended or self._is_stopped:
                return grpc.aio.EOF
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        self._owner.free(self)
        return message

    async def write(self, message: bytes) -> None:
        """Send a message, and wait until the client has room for all of it."""
        self.outgoing = frame(message)
        self._owner.pump(self)
        if self.outgoing:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """End the call."""
        raise AbortError(code, details)

    def time_remaining(self) -> float | None:
        """Seconds, if the client has set a deadline."""
        for name, value in self._headers:
            if name == b"grpc-timeout" and (timeout_s := parse_timeout(value)) is not None:
                return max(0.0, self.began + timeout_s - time.perf_counter())
        return None

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What the client sent with the call; names that end in -bin have bytes."""
        return [_decode(name, value) for name, value in self._headers if not name.startswith((b":", b"grpc-"))]


def _wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting and not waiting.done():
        waiting.set_result(None)


def _decode(name: bytes, value: bytes) -> tuple[str, str | bytes]:
    text = name.decode("ascii", "replace")
    if not name.endswith(b"-bin"):
        return text, value.decode("ascii", "replace")
    try:
        return text, base64.b64decode(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        return text, b""
