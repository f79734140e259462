"""A connection, and what ends it when its client is slow, or sends what no request needs.

uvicorn closes connections that are idle after an answer. A client that has sent nothing, or half a head, that goes
on sending after its answer, or that does not read, would keep one for ever.
"""

import asyncio
import time
from collections.abc import Iterable, MutableSet
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mlops_kit.modes.online.http.app import App
from mlops_kit.modes.online.http.messages import BODY, CLOSE, Response, Scope, encode_head

HEAD_BYTES = 65536
"""What may come in a row without being a part of a body: request lines, headers, trailers, chunk sizes."""


class _Refused:
    """What uvicorn wants to know of a request whose answer is complete, though its body may not be."""

    response_complete = True
    message_event = asyncio.Event()


REFUSED: Any = _Refused()

CLOSING = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"


class Connection(HttpToolsProtocol):
    """uvicorn's, which notes how long it waits for its client."""

    def __init__(self, door: App, arriving: "MutableSet[Connection]", *arguments: Any, **options: Any) -> None:
        """Is among those `arriving` until it is connected: with TLS, that takes several messages."""
        super().__init__(*arguments, **options)
        self._door = door
        self._arriving = arriving
        arriving.add(self)
        self._waits_since = time.monotonic()
        self._blocked_since: float | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client is there."""
        self._arriving.discard(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """What the client sent."""
        self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(b"400 Bad Request", "the request is not valid HTTP")
            return
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large", "the headers are too large")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._waits_since = time.monotonic()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """A request's head is there: it is answered from now on, or refused for want of room."""
        if self._door.gate.has_room(self.url) or not self._refuse_for_now():
            super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Answer a request. What ASGI would have an answer said in, and checked, costs as much as the model."""
        del app
        task = self.loop.create_task(self._answer(cycle))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _answer(self, cycle: RequestResponseCycle) -> None:
        scope: Scope = cycle.scope  # type: ignore[assignment]
        if not cycle.more_body and not cycle.waiting_for_100_continue:
            scope[BODY], cycle.body = bytes(cycle.body), bytearray()
        try:
            response = await self._door.answer(scope, cycle.receive)  # type: ignore[arg-type]
            if self.flow.write_paused:
                await self.flow.drain()
            if response and not self.transport.is_closing():
                self._write(response, cycle)
        finally:
            if not cycle.response_complete:
                self.transport.close()

    def _write(self, response: Response, cycle: RequestResponseCycle) -> None:
        # The headers of when the request came: a stop since then ends the connection with the last one behind it.
        fields = (*cycle.default_headers, *response.fields)
        if CLOSE in fields:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            fields = (*fields, CLOSE)
        head = encode_head(response.status, fields)
        self.transport.write(head if cycle.scope["method"] == "HEAD" else head + response.body)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response = _nothing
        if not cycle.keep_alive:
            self._waits_since = time.monotonic()
            self.transport.close()
        self.on_response_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        super().on_body(body)
        self._head_bytes = 0

    def pause_writing(self) -> None:
        """The client does not read its answer as fast as it is written."""
        super().pause_writing()
        self._blocked_since = time.monotonic()

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._blocked_since = None

    def is_stuck(self, since: float) -> bool:
        """Whether it has waited for its client since before a time of time.monotonic().

        A request that is being answered is the application's affair, which gives it up with an answer.
        """
        if self._blocked_since is not None:
            return self._blocked_since < since
        is_watched = self._is_answering or self.timeout_keep_alive_task is not None
        return self._waits_since < since and (self.transport.is_closing() or not is_watched)

    def shutdown(self) -> None:
        """Close after the answer that is being made. A client that is about to ask hears so with its answer."""
        if self._is_answering:
            self.cycle.keep_alive = False

    def close_if_idle(self) -> None:
        """Wait no more for a request."""
        if not self._is_answering:
            self.transport.close()

    def cut_if_answered(self) -> None:
        """End it at once if its client does not read what it was answered before."""
        if self._is_answering and self.flow.write_paused:
            self.cut()

    def cut(self) -> None:
        """End it at once: a client that does not read would never let it close."""
        self.transport.abort()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _should_upgrade(self) -> bool:
        """Asked where a request offers to go on in another protocol: uvicorn then leaves it to `data_received`."""
        return True

    def _refuse_for_now(self) -> bool:
        """Only where nothing else goes on here; elsewhere, False: who would answer refuses it."""
        parser = self.parser
        if self._is_answering or self.flow.write_paused or parser.get_method() != b"POST":
            return False
        if parser.should_upgrade() or parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return False
        refusal = self._door.gate.refusal(self.url, self.headers, self.server_state.default_headers)
        if refusal is None:
            return False
        self.cycle = REFUSED
        self.transport.write(refusal)
        return True

    def _parse(self, data: bytes | memoryview) -> None:
        """Where a request offers another protocol, the parser ends; each request in `data` may."""
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._decline_upgrade()
                data = memoryview(data)[upgrade.args[0] :]
            else:
                return

    def _decline_upgrade(self) -> None:
        """Take the request as if it had not offered it: the parser would lose the body.

        Java's client offers HTTP/2 in whatever it sends first to a server. Raises HttpParserError for CONNECT.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("this is no proxy")
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"\r\n".join((*lines, b"", b"")))

    def _refuse(self, status: bytes, message: str) -> None:
        """What is no request belongs to no protocol: the answer has the fields of both."""
        body = orjson.dumps({"error": message, "error_code": "BAD_REQUEST", "message": message})
        self.transport.write(b"HTTP/1.1 %b\r\n" % status + CLOSING % (len(body), body))
        self.transport.close()


def _nothing() -> None:
    """What a request that is answered has to call: its connection would never be free of it."""


def cut_stuck(connections: Iterable[asyncio.Protocol], timeout_s: float) -> None:
    """Cut those that have waited longer."""
    since = time.monotonic() - timeout_s
    for connection in list(connections):
        if isinstance(connection, Connection) and connection.is_stuck(since):
            connection.cut()
