"""Messages within a stream of bytes, and what headers say of a call."""

import struct
from urllib.parse import quote

from grpc import StatusCode

from mlops_kit.errors import MlkitError
from mlops_kit.modes.online.codings import CODINGS, decompress
from mlops_kit.modes.online.grpc.failures import code_of, details_of

PREFIX = struct.Struct(">BI")
"""Whether a message is compressed, and its length."""

UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class AbortError(Exception):
    """Ends a call with a status."""

    def __init__(self, code: StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class MessageReader:
    """Finds messages in what comes: those that are compressed in `coding`, none with more than `most` bytes."""

    def __init__(self, coding: bytes, most: int) -> None:
        self._buffer = bytearray()
        self._coding = coding
        self._most = most

    @property
    def is_between_messages(self) -> bool:
        """Whether no message has begun that is not complete."""
        return not self._buffer

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now. Raises AbortError."""
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= PREFIX.size:
            is_compressed, size = PREFIX.unpack_from(buffer)
            if size > self._most:
                raise AbortError(StatusCode.RESOURCE_EXHAUSTED, f"the message is larger than {self._most:,} bytes")
            end = PREFIX.size + size
            if len(buffer) < end:
                break
            message = bytes(memoryview(buffer)[PREFIX.size : end])
            del buffer[:end]
            messages.append(self._decompress(message) if is_compressed else message)
        return messages

    def _decompress(self, data: bytes) -> bytes:
        if self._coding not in CODINGS:
            raise AbortError(StatusCode.UNIMPLEMENTED, "messages may be compressed with gzip or deflate")
        try:
            return decompress(data, self._coding, self._most)
        except MlkitError as error:
            raise AbortError(code_of(error), details_of(error)) from error


def frame(message: bytes) -> bytes:
    """A message as it is sent."""
    return PREFIX.pack(0, len(message)) + message


def parse_timeout(text: bytes) -> float | None:
    """In seconds. None for what is no timeout."""
    digits, unit = text[:-1], UNITS_S.get(text[-1:])
    return int(digits) * unit if unit and digits.isdigit() and len(digits) <= 8 else None


def trailers_of(code: StatusCode, details: str) -> list[tuple[bytes, bytes]]:
    """What ends a call. Details are percent-encoded."""
    return [(b"grpc-status", b"%d" % code.value[0]), (b"grpc-message", quote(details, safe=PLAIN).encode())]
