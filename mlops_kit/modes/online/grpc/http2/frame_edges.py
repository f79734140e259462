"""Where frames begin and end in what a client sends."""

PREFACE_BYTES = 24
FRAME_HEAD_BYTES = 9
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
        data = self._head + data
        at, size = self._ahead, len(data)
        while at + FRAME_HEAD_BYTES <= size:
            self.frames += 1
            if data[at + 3] in (HEADERS, CONTINUATION):
                self._is_in_block = not data[at + 4] & END_HEADERS
            at += FRAME_HEAD_BYTES + int.from_bytes(data[at : at + 3], "big")
        self._head = data[at:]
        self._ahead = max(0, at - size)
