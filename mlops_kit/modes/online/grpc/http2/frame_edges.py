"""Where frames begin and end in what a client sends."""

import struct

PREFACE_BYTES = 24
HEAD = struct.Struct(">BHBBI")
"""Of a frame: the length, in two parts, the type, the flags and the stream."""

HEADERS, CONTINUATION = 1, 9
END_HEADERS = 4


class FrameEdges:
    """Knows whether a client has begun something that it must end before it may send anything else.

    A frame, or a block of headers in several of them: https://www.rfc-editor.org/rfc/rfc9113#section-4
    """

    __slots__ = ("_ahead", "_head", "_is_in_block", "frames")

    def __init__(self) -> None:
        self.frames = 0
        """How many have begun."""
        self._ahead = PREFACE_BYTES
        self._head = b""
        self._is_in_block = False

    @property
    def is_inside(self) -> bool:
        """Whether something is begun and not ended."""
        return bool(self._ahead or self._head or self._is_in_block)

    def feed(self, data: bytes) -> None:
        """More has come."""
        if self._head:
            data = self._head + data
        at, size = self._ahead, len(data)
        while at + HEAD.size <= size:
            high, low, kind, flags, _ = HEAD.unpack_from(data, at)
            if kind in (HEADERS, CONTINUATION):
                self._is_in_block = not flags & END_HEADERS
            at += HEAD.size + (high << 16 | low)
            self.frames += 1
        self._head = data[at:]
        self._ahead = max(0, at - size)
