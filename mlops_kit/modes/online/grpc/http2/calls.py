"""The calls of one connection: frames make them, and answers end them."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from grpc import StatusCode
from jh2 import events
from jh2.connection import H2Connection
from jh2.errors import ErrorCodes
from jh2.exceptions import StreamClosedError

from mlops_kit.errors import MlkitError, ReadTimeoutError, TooLargeError
from mlops_kit.modes.online.grpc.failures import code_of, details_of
from mlops_kit.modes.online.grpc.http2.call import Call, Handler, Headers
from mlops_kit.modes.online.grpc.http2.framing import AbortError, MessageReader, trailers_of
from mlops_kit.modes.online.grpc.http2.room import Room
from mlops_kit.modes.online.grpc.http2.sending import send
from mlops_kit.modes.online.statuses import GONE, status_of

OK: Headers = ((b"grpc-status", b"0"),)
WRONG_TYPE: Headers = ((b":status", b"415"),)


class Doorkeeper(Protocol):
    """Says which calls may come in, and hears of those that end before their handler has begun."""

    def admit(self, path: bytes, headers: Mapping[bytes, bytes]) -> None:
        """Asked before anything but the headers has come. Raises UnauthorizedError."""

    def note_failure(self, path: bytes, status: int, seconds: float) -> None:
        """One ended with this status, after so long."""


class Host(Protocol):
    """What calls need of their server."""

    most_bytes: int
    doorkeeper: Doorkeeper

    def find(self, path: bytes) -> Handler | None:
        """The handler of a path."""

    async def answer(self, calls: "Calls", call: Call) -> None:
        """Run a call's handler, and end the call."""


class Calls:
    """Those that are not ended."""

    def __init__(
        self, host: Host, h2: H2Connection, flush: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        """`flush` is told that there are frames to be written, `on_end` that a call is over."""
        self._host = host
        self._h2 = h2
        self._flush = flush
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._room = Room(h2, host.most_bytes)
        self._calls: dict[int, Call] = {}
        self._is_stopped = False
        self.receivers: Mapping[type[events.Event], Callable[[Any], None]] = {
            events.RequestReceived: self._begin,
            events.DataReceived: self._feed,
            events.StreamEnded: self._end,
            events.StreamReset: self._drop,
            events.WindowUpdated: self._open,
        }
        """Who is told of which event."""

    def __len__(self) -> int:
        return len(self._calls)

    def pump(self, call: Call) -> None:
        """Send what is outgoing as far as the client has room, and the trailers after it."""
        if self._calls.get(call.stream_id) is not call:
            return
        with contextlib.suppress(StreamClosedError):  # what has closed it is still to be heard, and ends the call
            if send(self._h2, call):
                self._finish(call)
        self._flush()

    def pump_all(self) -> None:
        """The client may have room that it had not before."""
        for call in [*self._calls.values()]:
            self.pump(call)

    def free(self, call: Call) -> None:
        """A message was taken: the client may send more."""
        is_worthwhile = call.is_streaming or call.extra_bytes
        if is_worthwhile and self._calls.get(call.stream_id) is call:
            self._room.free(call)
            self._flush()

    def succeed(self, call: Call) -> None:
        """End a call, after what is still outgoing."""
        call.trailers = OK
        self.pump(call)

    def fail(self, call: Call, error: AbortError) -> None:
        """End a call with a status."""
        call.trailers = trailers_of(error.code, error.details)
        self.pump(call)

    def refuse(self, call: Call, error: MlkitError) -> None:
        """End a call that no handler has counted."""
        self._note_failure(call, status_of(error))
        self.fail(call, AbortError(code_of(error), details_of(error)))

    def stop(self) -> None:
        """Let streams end with what has come."""
        self._is_stopped = True
        for call in self._calls.values():
            call.stop()

    def drop_all(self) -> None:
        """Nobody waits for the answers any more."""
        calls = [*self._calls.values()]
        self._calls.clear()
        self._room.close()
        for call in calls:
            self._give_up(call)

    def cut_slow(self, now: float, timeout_s: float) -> bool:
        """End calls whose client has owed something for too long. Whether none can go on."""
        for call in [*self._calls.values()]:
            if call.waited_s(now) < timeout_s:
                continue
            if call.outgoing and self._h2.outbound_flow_control_window <= 0:
                return True
            self._cut(call)
        return False

    def _cut(self, call: Call) -> None:
        if call.task:
            call.task.cancel()
        if call.outgoing:
            with contextlib.suppress(StreamClosedError):
                self._h2.reset_stream(call.stream_id, ErrorCodes.ENHANCE_YOUR_CALM)
            self._forget(call)
        else:
            self.refuse(call, ReadTimeoutError())

    def _begin(self, event: Any) -> None:
        named = dict(event.headers)
        if not named.get(b"content-type", b"").startswith(b"application/grpc"):
            with contextlib.suppress(StreamClosedError):
                self._h2.send_headers(event.stream_id, WRONG_TYPE, end_stream=True)
            return
        path = named[b":path"]
        handler = self._host.find(path)
        reader = MessageReader(named.get(b"grpc-encoding", b""), self._host.most_bytes)
        call = self._calls[event.stream_id] = Call(self, event.stream_id, handler, event.headers, reader)
        if handler is None:
            self.fail(call, AbortError(StatusCode.UNIMPLEMENTED, "there is no such call"))
            return
        try:
            self._host.doorkeeper.admit(path, named)
        except MlkitError as error:
            self.refuse(call, error)
            return
        if call.is_streaming:
            self._start(call)

    def _start(self, call: Call) -> None:
        if self._is_stopped:
            call.stop()
        call.task = self._loop.create_task(self._host.answer(self, call))

    def _feed(self, event: Any) -> None:
        self._room.receive(event.flow_controlled_length)
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        call.feed(event.data)
        call.padding_bytes += event.flow_controlled_length - len(event.data)
        if call.lacks_room:
            if not call.reader.is_too_large:
                self._room.ask(call)
            elif not call.is_streaming:
                self.refuse(call, TooLargeError(self._host.most_bytes))

    def _end(self, event: Any) -> None:
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        call.end()
        if not call.is_streaming:
            self._start(call)

    def _drop(self, event: Any) -> None:
        if call := self._calls.get(event.stream_id):
            self._give_up(call)
            self._forget(call)

    def _open(self, event: Any) -> None:
        if not event.stream_id:
            self.pump_all()
        elif call := self._calls.get(event.stream_id):
            self.pump(call)

    def _give_up(self, call: Call) -> None:
        if call.task:
            call.task.cancel()
        if not call.is_streaming and not call.reader.taken:
            self._note_failure(call, GONE)

    def _note_failure(self, call: Call, status: int) -> None:
        self._host.doorkeeper.note_failure(call.path, status, time.perf_counter() - call.began)

    def _finish(self, call: Call) -> None:
        if not call.is_ended:
            with contextlib.suppress(StreamClosedError):  # its end may have come together with what was refused
                self._h2.reset_stream(call.stream_id, ErrorCodes.NO_ERROR)
        self._forget(call)

    def _forget(self, call: Call) -> None:
        del self._calls[call.stream_id]
        self._room.leave(call)
        self._on_end()
