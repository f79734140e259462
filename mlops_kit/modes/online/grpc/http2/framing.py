"""Messages within a stream of bytes, and what headers say of a call."""

import struct
from urllib.parse import quote

from grpc import StatusCode

from mlops_kit.errors import TooLargeError
from mlops_kit.modes.online.codings import decompress

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
    """Keeps what comes until it is taken: messages compressed in `coding`, none with more than `most` bytes.

    They stay as they came: what nobody has taken yet is no larger here than it was on its way.
    """

    __slots__ = ("_buffer", "_coding", "_most", "front", "taken")

    def __init__(self, coding: bytes, most: int) -> None:
        self.front = 0
        """Bytes of the message at the front, with its prefix; 0 before its length is known."""
        self.taken = 0
        """Bytes of all messages that were taken."""
        self._buffer = bytearray()
        self._coding = coding
        self._most = most

    @property
    def is_empty(self) -> bool:
        """Whether all that came was taken."""
        return not self._buffer

    @property
    def has_part(self) -> bool:
        """Whether the message at the front has begun to come, and not come in full."""
        return bool(self._buffer) and not 0 < self.front <= len(self._buffer)

    @property
    def is_too_large(self) -> bool:
        """Whether the message at the front is."""
        return self.front > PREFIX.size + self._most

    def feed(self, data: bytes) -> None:
        """More has come."""
        self._buffer += data
        if not self.front:
            self._look()

    def take(self) -> bytes | None:
        """The message at the front, decompressed; None before it has come in full.

        Raises TooLargeError, InputError and UnsupportedMediaTypeError.
        """
        if self.is_too_large:
            raise TooLargeError(self._most)
        if not self.front or self.front > len(self._buffer):
            return None
        is_compressed = self._buffer[0]
        message = bytes(memoryview(self._buffer)[PREFIX.size : self.front])
        del self._buffer[: self.front]
        self.taken += self.front
        self.front = 0
        self._look()
        return decompress(message, self._coding, self._most) if is_compressed else message

    def _look(self) -> None:
        if len(self._buffer) >= PREFIX.size:
            self.front = PREFIX.size + PREFIX.unpack_from(self._buffer)[1]


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
