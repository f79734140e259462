"""How much a client may send that is not read yet: flow control, in the direction of the server.

https://www.rfc-editor.org/rfc/rfc9113#section-5.2
"""

from jh2.connection import H2Connection

from mlops_kit.modes.online.grpc.http2.call import FIRST_BYTES, Call

STREAMS = 1000
"""Calls at a time."""

LARGE_MESSAGES = 4
"""There is room for so many of the largest that are allowed, so that a slow one holds up no other."""

LEAST_LARGE_BYTES = 2**24
UPDATE_BYTES = 2**20
MOST_WINDOW_BYTES = 2**31 - 1


class Room:
    """The memory of one connection for what its handlers have not read.

    Every call may send FIRST_BYTES. A message that is larger waits until there is room for all of it, after those
    that came before it. The connection's own window is so wide that it holds up nobody.
    """

    def __init__(self, h2: H2Connection, most_bytes: int) -> None:
        """`most_bytes` are those of a message."""
        self._h2 = h2
        self._left = max(LARGE_MESSAGES * most_bytes, LEAST_LARGE_BYTES)
        self._waiting: dict[int, Call] = {}
        self._received = 0
        window = min(2 * (STREAMS * FIRST_BYTES + self._left), MOST_WINDOW_BYTES)
        h2.increment_flow_control_window(window - FIRST_BYTES)

    def receive(self, count: int) -> None:
        """So many bytes have come, for whichever call."""
        self._received += count
        if self._received >= UPDATE_BYTES:
            self._h2.increment_flow_control_window(self._received)
            self._received = 0

    def ask(self, call: Call) -> None:
        """The message at a call's front needs more room than its client has."""
        if call.extra_bytes or call.reader.front <= FIRST_BYTES:
            self._open(call)
        else:
            self._waiting[call.stream_id] = call
            self._grant()

    def free(self, call: Call) -> None:
        """A message was taken."""
        self._give_back(call)
        if call.is_ended:
            return
        if call.lacks_room:
            self.ask(call)
        elif call.closed_bytes >= FIRST_BYTES // 2:
            self._open(call)

    def leave(self, call: Call) -> None:
        """The call is over."""
        self._waiting.pop(call.stream_id, None)
        self._give_back(call)

    def close(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()

    def _give_back(self, call: Call) -> None:
        if call.extra_bytes:
            self._left += call.extra_bytes
            call.extra_bytes = 0
            self._grant()

    def _grant(self) -> None:
        """In the order in which they asked."""
        while self._waiting:
            call = next(iter(self._waiting.values()))
            extra_bytes = call.reader.front - FIRST_BYTES
            if extra_bytes > self._left:
                return
            del self._waiting[call.stream_id]
            self._left -= extra_bytes
            call.extra_bytes = extra_bytes
            self._open(call)

    def _open(self, call: Call) -> None:
        count = call.closed_bytes
        if count > 0 and call.stream_id in self._h2.streams:
            self._h2.increment_flow_control_window(count, call.stream_id)
            call.opened_bytes += count
