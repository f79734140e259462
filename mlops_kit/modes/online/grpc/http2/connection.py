"""A client's connection: frames become calls, and answers become frames."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Protocol

import grpc
from jh2 import events
from jh2.config import H2Configuration
from jh2.connection import H2Connection
from jh2.errors import ErrorCodes
from jh2.exceptions import H2Error, StreamClosedError
from jh2.settings import SettingCodes, Settings

from mlops_kit.modes.online.grpc.http2.call import Call, Handler, Headers
from mlops_kit.modes.online.grpc.http2.framing import AbortError, MessageReader, trailers_of

CONFIG = H2Configuration(client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False)
WINDOW_BYTES = 2**20
FIRST_WINDOW_BYTES = 2**16 - 1
"""Of a connection, by the specification."""

HEADER_BYTES = 2**14
SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: 1000,
    SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
    SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_BYTES,
}
HEADERS: Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"))
OK: Headers = ((b"grpc-status", b"0"),)
WRONG_TYPE: Headers = ((b":status", b"415"),)
GO_AWAY = struct.pack(">3sBBIII", b"\0\0\x08", 7, 0, 0, 2**31 - 1, 0)
"""The frame that asks for no new streams and takes none back; jh2 sends nothing more after its own."""

SEEN_S = 1.0
"""How long a client may take to say that it has seen it."""

PANIC = "PanicException"
"""Not an Exception, and in no module that could be imported: https://pyo3.rs/main/doc/pyo3/panic/"""

KEEPALIVE_S = 60
"""A client that says nothing for so long is asked by TCP whether it is there."""


class Host(Protocol):
    """What a connection needs of its server."""

    most_bytes: int
    connections: "set[Connection]"

    def find(self, path: bytes) -> Handler | None:
        """The handler of a path."""

    async def answer(self, connection: "Connection", call: Call) -> None:
        """Run a call's handler, and end the call."""


class Connection(asyncio.Protocol):
    """Made by the event loop for each client."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._h2 = H2Connection(CONFIG)
        self._transport: asyncio.Transport
        self._calls: dict[int, Call] = {}
        self._began = time.perf_counter()
        self._is_greeted = self._is_flushing = self._is_draining = self._may_close = False
        self._receivers: dict[type[events.Event], Callable[[Any], None]] = {
            events.RequestReceived: self._begin_call,
            events.DataReceived: self._feed_call,
            events.StreamEnded: self._end_request,
            events.StreamReset: self._drop_call,
            events.WindowUpdated: self._open_window,
            events.RemoteSettingsChanged: self._change_settings,
            events.PingAckReceived: self._hear_that_it_is_seen,
            events.ConnectionTerminated: self._leave,
        }

    def connection_made(self, transport: Any) -> None:
        """Greet the client."""
        self._transport = transport
        self._host.connections.add(self)
        _keep_alive(transport.get_extra_info("socket"))
        self._h2.local_settings = Settings(client=False, initial_values=SETTINGS)
        self._h2.decoder.max_header_list_size = HEADER_BYTES
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW_BYTES - FIRST_WINDOW_BYTES)
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody waits for the answers any more."""
        self._host.connections.discard(self)
        for call in self._calls.values():
            if call.task:
                call.task.cancel()
        self._calls.clear()

    def pause_writing(self) -> None:
        """A client that does not read may not ask either."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Do what the frames say."""
        try:
            for event in self._h2.receive_data(data):
                if receive := self._receivers.get(type(event)):
                    receive(event)
        except H2Error:
            self._flush()
            self._transport.close()
            return
        except BaseException as error:
            # What decodes headers is written in Rust, and panics at some that are cut short.
            if type(error).__name__ != PANIC:
                raise
            self._transport.abort()
            return
        self._flush()

    def drain(self) -> None:
        """Ask the client to go elsewhere, and close once it knows and all that has begun is answered."""
        if self._is_draining:
            return
        self._is_draining = True
        self._transport.write(GO_AWAY)
        if self._is_greeted:
            self._h2.ping(b"draining")
            self._flush()
        self._loop.call_later(SEEN_S if self._is_greeted else 0, self._hear_that_it_is_seen, None)

    def close(self) -> None:
        """At once."""
        self._transport.abort()

    def cut_if_slow(self, limit: float) -> None:
        """End what began before `limit` and has not come in full."""
        if not self._is_greeted and self._began < limit:
            self._transport.abort()
        for call in [*self._calls.values()]:
            if call.is_waited_for and call.began < limit:
                self.fail(call, AbortError(grpc.StatusCode.DEADLINE_EXCEEDED, "the message did not come in time"))
        self._flush()

    def succeed(self, call: Call) -> None:
        """End a call, after what is still outgoing."""
        call.trailers = OK
        self._pump(call)

    def fail(self, call: Call, error: AbortError) -> None:
        """End a call with a status."""
        call.trailers = trailers_of(error.code, error.details)
        self._pump(call)

    def _begin_call(self, event: Any) -> None:
        headers = event.headers
        named = dict(headers)
        if not named.get(b"content-type", b"").startswith(b"application/grpc"):
            with contextlib.suppress(StreamClosedError):
                self._h2.send_headers(event.stream_id, WRONG_TYPE, end_stream=True)
            return
        handler = self._host.find(named[b":path"])
        reader = MessageReader(named.get(b"grpc-encoding", b""), self._host.most_bytes)
        call = self._calls[event.stream_id] = Call(event.stream_id, handler, headers, reader)
        call.pump, call.consumed = self._pump, self._acknowledge
        if handler is None:
            self.fail(call, AbortError(grpc.StatusCode.UNIMPLEMENTED, "there is no such call"))
        elif handler.request_streaming or handler.response_streaming:
            call.task = self._loop.create_task(self._host.answer(self, call))

    def _feed_call(self, event: Any) -> None:
        call = self._calls.get(event.stream_id)
        if call is None:
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return
        call.unread_bytes += event.flow_controlled_length
        try:
            messages = call.reader.feed(event.data)
        except AbortError as error:
            self.fail(call, error)
            return
        if messages:
            call.put(messages)
        if call.has_too_many:
            self.fail(call, AbortError(grpc.StatusCode.INVALID_ARGUMENT, "the call takes one message"))
            return
        if call.is_waited_for or not call.has_messages:
            self._acknowledge(call)

    def _end_request(self, event: Any) -> None:
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        call.end()
        if call.is_waited_for:
            call.task = self._loop.create_task(self._host.answer(self, call))

    def _drop_call(self, event: Any) -> None:
        call = self._calls.pop(event.stream_id, None)
        if call and call.task:
            call.task.cancel()
        self._close_if_done()

    def _open_window(self, event: Any) -> None:
        waiting = [self._calls[event.stream_id]] if event.stream_id in self._calls else []
        for call in waiting if event.stream_id else [*self._calls.values()]:
            self._pump(call)

    def _change_settings(self, _event: Any) -> None:
        self._is_greeted = True
        for call in [*self._calls.values()]:
            self._pump(call)

    def _hear_that_it_is_seen(self, _event: Any) -> None:
        self._may_close = self._is_draining
        self._close_if_done()

    def _leave(self, _event: Any) -> None:
        self._transport.close()

    def _acknowledge(self, call: Call) -> None:
        """Let the client send more."""
        if call.unread_bytes and call.stream_id in self._calls:
            self._h2.acknowledge_received_data(call.unread_bytes, call.stream_id)
            call.unread_bytes = 0
            self._flush_soon()

    def _pump(self, call: Call) -> None:
        """Send what is outgoing as far as the client has room, and the trailers after it."""
        if self._calls.get(call.stream_id) is not call:
            return
        with contextlib.suppress(StreamClosedError):  # what has closed it is still to be heard, and ends the call
            self._send(call)
        self._flush_soon()

    def _send(self, call: Call) -> None:
        stream_id = call.stream_id
        if call.outgoing and not call.is_begun:
            call.is_begun = True
            self._h2.send_headers(stream_id, HEADERS)
        while call.sent < len(call.outgoing):
            room = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            if room <= 0:
                break
            self._h2.send_data(stream_id, call.outgoing[call.sent : call.sent + room])
            call.sent = min(call.sent + room, len(call.outgoing))
        if call.sent == len(call.outgoing):
            call.outgoing, call.sent = b"", 0
        if not call.outgoing:
            call.has_room()
            if call.trailers:
                self._finish(call, call.trailers)

    def _finish(self, call: Call, trailers: Headers) -> None:
        headers = trailers if call.is_begun else [*HEADERS, *trailers]
        self._h2.send_headers(call.stream_id, headers, end_stream=True)
        if not call.is_ended:
            self._acknowledge(call)
            with contextlib.suppress(StreamClosedError):  # its end may have come together with what was refused
                self._h2.reset_stream(call.stream_id, ErrorCodes.NO_ERROR)
        del self._calls[call.stream_id]
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._may_close and not self._calls:
            self._flush()
            self._transport.close()

    def _flush_soon(self) -> None:
        """All that is answered in one turn of the loop is written at once."""
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        if (data := self._h2.data_to_send()) and not self._transport.is_closing():
            self._transport.write(data)


def _keep_alive(connection: socket.socket | None) -> None:
    if connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
