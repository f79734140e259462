"""HTTP requests as ASGI gives them, and the answers to them."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from mlops_kit.errors import InputError, TooLargeError
from mlops_kit.modes.online.codings import decompress

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = tuple[tuple[bytes, bytes], ...]
Fields = Iterable[tuple[bytes, bytes]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = b"application/json"
CLOSE = (b"connection", b"close")

STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}

MOST_DIGITS = 18
BY_NAME = "headers by name"
"""Where a scope keeps them, once one was asked for: each request is asked for several."""

BODY = "whole body"
"""Where a scope has it if it came with the head, as that of a small request does: ASGI would have it asked for."""


class DisconnectedError(Exception):
    """The client went away before its request was complete."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, ready to be sent."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: Headers = ()

    @property
    def fields(self) -> Headers:
        """Its headers, with those that every answer has."""
        return (
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            *self.headers,
        )

    async def send(self, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.fields})
        await send({"type": "http.response.body", "body": self.body})


Handler = Callable[[Scope, Receive], Awaitable[Response]]


def encode_head(status: int, fields: Fields) -> bytes:
    """What comes before the body of an answer."""
    return STATUS_LINES[status] + encode_fields(fields) + b"\r\n"


def encode_fields(fields: Fields) -> bytes:
    """A line for each."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of this name, in lower case; empty if there is none."""
    found = scope.get(BY_NAME)
    if found is None:
        found = scope[BY_NAME] = dict(reversed(scope["headers"]))
    return found.get(name, b"")  # type: ignore[no-any-return]


def authorization(scope: Scope) -> bytes:
    """What the request says about its right to be answered; X-API-Key is taken for a bearer's key."""
    key = header(scope, b"x-api-key")
    return b"Bearer " + key if key else header(scope, b"authorization")


def whole_number(scope: Scope, name: bytes, unit: str) -> int | None:
    """What a header says; None if there is none. Raises InputError for anything else."""
    value = header(scope, name)
    if not value:
        return None
    if not value.isdigit() or len(value) > MOST_DIGITS:
        raise InputError(f"{name.decode()} is no number of {unit}")
    return int(value)


def decode_body(scope: Scope, body: bytes, most: int) -> bytes:
    """A whole body, decompressed. Raises TooLargeError for more bytes than `most`."""
    if len(body) > most:
        raise TooLargeError(most)
    coding = header(scope, b"content-encoding").lower()
    return body if not coding or coding == b"identity" else decompress(body, coding, most)


async def receive_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The whole body as it is sent. Raises TooLargeError as soon as there are more bytes than `most`."""
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > most:
        raise TooLargeError(most)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise TooLargeError(most)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
