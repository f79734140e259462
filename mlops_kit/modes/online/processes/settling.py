"""When a change is worth trying: not in the middle of it."""

MOST_LOOKS = 16


class Settling:
    """Told at every look what there is. `tried` is what there was when it was loaded last.

    >>> settling = Settling("old")
    >>> [settling.is_due(seen) for seen in ("old", "half", "whole", "whole")]
    [False, False, False, True]
    """

    def __init__(self, tried: str) -> None:
        self._tried = tried
        self._seen = tried
        self._looks = 0
        self._needed = 1

    def is_due(self, seen: str) -> bool:
        """Whether it is something new, and the same as at the looks before."""
        self._looks = self._looks + 1 if seen == self._seen else 0
        self._seen = seen
        return seen != self._tried and self._looks >= self._needed

    def settle(self, tried: str, *, is_taken: bool) -> None:
        """It was loaded. If it was refused, what comes next has to rest twice as long: a copy may be slow."""
        self._tried = tried
        self._needed = 1 if is_taken else min(2 * self._needed, MOST_LOOKS)
