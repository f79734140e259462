"""How much is going on in this process."""

from collections.abc import Sized


class Traffic:
    """Requests that have begun at any door. A door lends its own collection of them, so that counting is free."""

    __slots__ = ("_doors",)

    def __init__(self) -> None:
        self._doors: list[Sized] = []

    def watch(self, requests: Sized) -> None:
        """From a door: what holds one thing for each request that has begun, from its head to its answer."""
        self._doors.append(requests)

    @property
    def is_lone(self) -> bool:
        """Whether there is one request and no other, with which it could share a run."""
        return sum(map(len, self._doors)) == 1
