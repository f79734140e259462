"""A client's connection: from bytes to frames and back, and its end."""

import asyncio
import socket
import struct
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from jh2 import events
from jh2.config import H2Configuration
from jh2.connection import H2Connection
from jh2.exceptions import H2Error
from jh2.settings import SettingCodes, Settings

from mlops_kit.modes.online.grpc.http2.call import FIRST_BYTES
from mlops_kit.modes.online.grpc.http2.calls import Calls, Host
from mlops_kit.modes.online.grpc.http2.frame_edges import FrameEdges
from mlops_kit.modes.online.grpc.http2.patience import Patience
from mlops_kit.modes.online.grpc.http2.room import STREAMS

CONFIG = H2Configuration(client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False)
HEADER_BYTES = 2**14
SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
    SettingCodes.INITIAL_WINDOW_SIZE: FIRST_BYTES,  # jh2 would give 6 MiB
    SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_BYTES,
}
GO_AWAY = struct.pack(">3sBBIII", b"\0\0\x08", 7, 0, 0, 2**31 - 1, 0)
"""The frame that asks for no new streams and takes none back; jh2 sends nothing more after its own."""

SEEN_S = 1.0
"""How long a client may take to say that it has seen it, and before that, to ask for anything at all."""

PANIC = "PanicException"
"""Not an Exception, and in no module that could be imported: https://pyo3.rs/main/doc/pyo3/panic/"""

KEEPALIVE_S = 60
"""A client that says nothing for so long is asked by TCP whether it is there."""


class Server(Host, Protocol):
    """What a connection needs of its server."""

    connections: "set[Connection]"
    arriving: "weakref.WeakSet[Connection]"


class Connection(asyncio.Protocol):
    """Made by the event loop for each client."""

    def __init__(self, server: Server) -> None:
        """Is among those `arriving` until it is connected: with TLS, that takes several messages."""
        self._server = server
        server.arriving.add(self)
        self._loop = asyncio.get_running_loop()
        self._h2 = H2Connection(CONFIG)
        self._calls: Calls
        self._transport: asyncio.Transport
        self._receivers: dict[type[events.Event], Callable[[Any], None]]
        self._edges = FrameEdges()
        self._patience = Patience()
        self._pauses = 0
        self._is_greeted = self._is_paused = self._is_flushing = False
        self._is_draining = self._is_sent_away = self._may_close = False

    def connection_made(self, transport: Any) -> None:
        """Greet the client."""
        self._transport = transport
        self._server.arriving.discard(self)
        self._server.connections.add(self)
        _keep_alive(transport.get_extra_info("socket"))
        self._h2.local_settings = Settings(client=False, initial_values=SETTINGS)
        self._h2.decoder.max_header_list_size = HEADER_BYTES
        self._h2.initiate_connection()
        self._calls = Calls(self._server, self._h2, self._flush_soon, self._close_if_done)
        self._receivers = {
            **self._calls.receivers,
            events.RemoteSettingsChanged: self._change_settings,
            events.PingAckReceived: self._hear_that_it_is_seen,
            events.ConnectionTerminated: self._leave,
        }
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody waits for the answers any more."""
        self._server.connections.discard(self)
        self._calls.drop_all()

    def pause_writing(self) -> None:
        """A client that does not read may not ask either."""
        self._is_paused = True
        self._pauses += 1
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_paused = False
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Do what the frames say."""
        self._edges.feed(data)
        try:
            for event in self._h2.receive_data(data):
                if receive := self._receivers.get(type(event)):
                    receive(event)
        except H2Error:
            self._flush()
            self._leave()
            return
        except BaseException as error:
            # What decodes headers is written in Rust, and panics at some that are cut short.
            if type(error).__name__ != PANIC:
                raise
            self._transport.abort()
            return
        if self._is_draining and self._has_asked:
            self._send_away()
        self._flush()

    def drain(self) -> None:
        """Ask the client to go elsewhere, and close once it knows and all that has begun is answered."""
        if self._is_draining:
            return
        self._is_draining = True
        self._calls.stop()
        if self._has_asked:
            self._send_away()
        else:  # grpcio may wait for ever if it is sent away before it has asked for anything
            self._loop.call_later(SEEN_S, self._send_away)

    def close(self) -> None:
        """At once."""
        self._transport.abort()

    def cut_if_slow(self, now: float, timeout_s: float) -> None:
        """End what has waited for its client for too long: calls, or all of it."""
        if self._patience.waited_s(self._owed, now) >= timeout_s or self._calls.cut_slow(now, timeout_s):
            self._transport.abort()
        else:
            self._flush()

    @property
    def _owed(self) -> Hashable:
        """The client's next step; None if it may take its time."""
        if self._transport.is_closing():
            return "the end"
        if not self._is_greeted:
            return "a greeting"
        if self._is_paused:
            return "reading", self._pauses
        return ("the rest of a frame", self._edges.frames) if self._edges.is_inside else None

    def _change_settings(self, _event: Any) -> None:
        self._is_greeted = True
        self._calls.pump_all()

    @property
    def _has_asked(self) -> bool:
        last: int = self._h2.highest_inbound_stream_id
        return last > 0

    def _send_away(self) -> None:
        if self._is_sent_away or self._transport.is_closing():
            return
        self._is_sent_away = True
        self._transport.write(GO_AWAY)
        if self._is_greeted:
            self._h2.ping(b"draining")
            self._flush()
        self._loop.call_later(SEEN_S if self._is_greeted else 0, self._hear_that_it_is_seen, None)

    def _hear_that_it_is_seen(self, _event: Any) -> None:
        self._may_close = self._is_draining
        self._close_if_done()

    def _leave(self, _event: Any = None) -> None:
        self._calls.drop_all()
        self._transport.close()

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
