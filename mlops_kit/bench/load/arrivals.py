"""When requests are due."""

import numpy as np

from mlops_kit.bench.load.interface import Closed, Open


class ClosedArrivals:
    """A request is due whenever somebody can send it, until the end."""

    def __init__(self, load: Closed, started: float) -> None:
        self._end = started + load.seconds

    def take(self, now: float) -> float | None:
        """When the next request was due; None if none is now."""
        return now if now < self._end else None

    def next_due(self) -> float | None:
        """When the clock should be looked at again; None if never: answers drive a closed loop."""
        return None

    def is_over(self, now: float) -> bool:
        """Whether no request will be due any more."""
        return now >= self._end

    def expired(self, _limit: float) -> int:
        """None waits here."""
        return 0


class OpenArrivals:
    """Requests are due at the times of a schedule, and wait in its order for a connection that is free."""

    def __init__(self, load: Open, started: float) -> None:
        self._due: list[float] = (started + poisson_schedule(load)).tolist()
        self._next = 0

    def take(self, now: float) -> float | None:
        """When the next request was due; None if none is now."""
        if self._next < len(self._due) and self._due[self._next] <= now:
            self._next += 1
            return self._due[self._next - 1]
        return None

    def next_due(self) -> float | None:
        """When the next one is, or was; None if all were taken."""
        return self._due[self._next] if self._next < len(self._due) else None

    def is_over(self, _now: float) -> bool:
        """Whether all were taken."""
        return self._next >= len(self._due)

    def expired(self, limit: float) -> int:
        """Drop those that were due before `limit` and nobody has taken; returns how many."""
        first = self._next
        while self._next < len(self._due) and self._due[self._next] < limit:
            self._next += 1
        return self._next - first


def poisson_schedule(load: Open) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Arrival times from 0 to the end.

    Given how many events a Poisson process has, they are spread evenly at random; the number is the rate times the
    seconds, exactly, so that what is offered is what was asked for.
    """
    count = max(1, round(load.rate * load.seconds))
    return np.sort(np.random.default_rng(load.seed).uniform(0, load.seconds, count))
