"""How long a client has owed the server its next step."""

from collections.abc import Hashable


class Patience:
    """Is asked now and then, so that nothing has to be noted while frames come and go.

    >>> patience = Patience()
    >>> patience.waited_s("half a frame", 10.0), patience.waited_s("half a frame", 11.5)
    (0.0, 1.5)
    >>> patience.waited_s("half of the next", 12.0), patience.waited_s(None, 19.0)
    (0.0, 0.0)
    """

    __slots__ = ("_owed", "_since")

    def __init__(self) -> None:
        self._owed: Hashable = None
        self._since = 0.0

    def waited_s(self, owed: Hashable, now: float) -> float:
        """Since it was first asked about the same thing. What is owed changes with every step; None is nothing."""
        if owed is None or owed != self._owed:
            self._owed, self._since = owed, now
        return now - self._since
