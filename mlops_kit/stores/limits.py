"""What every store takes, and in which portions."""

import re
from collections.abc import Callable, Iterator, Sequence

from mlops_kit.errors import UsageError
from mlops_kit.stores.interface import Value, Write

SPACE = re.compile(r"[A-Za-z0-9_./@:-]{1,200}")
LONGEST_KEY = 1 << 10
LARGEST_VALUE = 256 << 20
PAGE_BYTES = 1 << 19
FIRST_PAGE, LARGEST_PAGE = 16, 1024
"""How many values are asked for at once while nobody knows how large they are, and at most."""


def check_writes(space: str, writes: Sequence[Write]) -> None:
    """Raises UsageError for what one store would take and another would not."""
    if not SPACE.fullmatch(space):
        raise UsageError(
            f"{space!r}: no name of a space", fix='use up to 200 letters (A to z), digits and "_-./@:"'
        )
    for write in writes:
        if len(write.key) > LONGEST_KEY:
            raise UsageError(
                f"space {space!r}: a key has {len(write.key):,} bytes", f"at most {LONGEST_KEY:,} are taken"
            )
        if len(write.data) > LARGEST_VALUE:
            raise UsageError(
                f"space {space!r}: a value has {len(write.data):,} bytes", f"at most {LARGEST_VALUE:,} are taken"
            )


def portions(writes: Sequence[Write], most: int, most_bytes: int) -> Iterator[Sequence[Write]]:
    """The writes in turn, so many and so large at a time, but one at least.

    >>> [len(portion) for portion in portions([Write(b"", bytes(n)) for n in (9, 1, 1, 1, 1, 1)], 3, 5)]
    [1, 3, 2]
    """
    first, size = 0, 0
    for place, write in enumerate(writes):
        size += len(write.data)
        if place > first and (size > most_bytes or place - first == most):
            yield writes[first:place]
            first, size = place, len(write.data)
    if first < len(writes):
        yield writes[first:]


def next_page(values: int, size: int) -> int:
    """How many values to ask for after so many that had this size together, so that an answer stays small."""
    if size > 2 * PAGE_BYTES:
        return max(1, values // 2)
    return min(LARGEST_PAGE, values * 2) if size < PAGE_BYTES else values


def scan_by_key(
    read_page: Callable[[bytes, int], Sequence[tuple[bytes, Value]]],
) -> Iterator[tuple[bytes, Value]]:
    """All that `read_page` (the lowest key, how many at most) gives in the order of the keys."""
    lowest, most = b"", FIRST_PAGE
    while page := read_page(lowest, most):
        yield from page
        lowest = page[-1][0] + b"\0"  # no key is between the two
        most = next_page(most, sum(len(value.data) for _, value in page))
