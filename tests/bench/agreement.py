"""A measurement is taken again where others have used the machine meanwhile; what is asked of it stays the same."""

from collections.abc import Callable, Sequence

TRIES = 6


def agrees(measure: Callable[[], Sequence[float]], planted: Sequence[float], within: float) -> bool:
    """Whether one of several measurements found all that was planted."""
    seen = []
    for _ in range(TRIES):
        found = measure()
        if all(abs(got - want) <= within * want for got, want in zip(found, planted, strict=True)):
            return True
        seen.append(found)
    print("planted", planted, "found", seen)
    return False
