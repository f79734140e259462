"""One call, as its handler sees it."""

import asyncio
import base64
import binascii
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import grpc

from mlops_kit.modes.online.grpc.http2.framing import AbortError, MessageReader, frame, parse_timeout

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Handler: TypeAlias = Any
"""A grpc.RpcMethodHandler; its types are those of handlers that are not asynchronous."""


class Call:
    """The part of grpc.aio.ServicerContext that handlers use, and what its connection keeps about it."""

    def __init__(self, stream_id: int, handler: Handler, headers: Headers, reader: MessageReader) -> None:
        self.stream_id = stream_id
        self.handler = handler
        self.reader = reader
        self.began = time.perf_counter()
        self.task: asyncio.Task[None] | None = None
        self.unread_bytes = 0
        self.is_ended = False
        """Whether the client has sent all."""
        self.is_begun = False
        """Whether the answer's headers are sent."""
        self.outgoing = b""
        self.sent = 0
        """How many bytes of what is outgoing are sent."""
        self.trailers: Headers | None = None
        self.pump: Callable[[Call], None]
        """Sends what is outgoing, as far as the client has room."""
        self.consumed: Callable[[Call], None]
        """Gives the client room for what was read."""
        self._headers = headers
        self._messages: deque[bytes] = deque()
        self._news: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    @property
    def has_messages(self) -> bool:
        """Whether some wait for being read."""
        return bool(self._messages)

    @property
    def has_too_many(self) -> bool:
        """Whether a call that takes one message has more."""
        return self.is_waited_for and len(self._messages) > 1

    @property
    def is_waited_for(self) -> bool:
        """Whether the handler cannot begin before the client has sent all."""
        return self.task is None

    def put(self, messages: Sequence[bytes]) -> None:
        """Messages have come."""
        self._messages.extend(messages)
        _wake(self._news)

    def end(self) -> None:
        """No more will come."""
        self.is_ended = True
        _wake(self._news)

    def has_room(self) -> None:
        """All that was outgoing is sent."""
        _wake(self._room)

    def only_message(self) -> bytes:
        """Of a call that takes one. Raises AbortError."""
        if len(self._messages) != 1 or not self.reader.is_between_messages:
            raise AbortError(grpc.StatusCode.INVALID_ARGUMENT, "the call takes one message, and that in full")
        return self._messages[0]

    async def read(self) -> Any:
        """The next message, or grpc.aio.EOF."""
        while not self._messages:
            if self.is_ended:
                return grpc.aio.EOF
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        message = self._messages.popleft()
        if not self._messages:
            self.consumed(self)
        return message

    async def write(self, message: bytes) -> None:
        """Send a message, and wait until the client has room for all of it."""
        self.outgoing = frame(message)
        self.pump(self)
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
