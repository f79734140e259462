"""What a backend must do to keep feature values and window state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Value:
    """What is stored under a key. `version` is 1 when it is first written, and one more each time after."""

    version: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Write:
    """A value to write. `replaces` is the version that it was made from: 0 if there was none, None for whatever is
    there.
    """

    key: bytes
    data: bytes
    replaces: int | None = None


class Reads(Protocol):
    """The reading of a store on an event loop; any number may be under way at once."""

    async def read(self, addresses: Sequence[tuple[str, bytes]]) -> list[Value | None]:
        """As `Store.read`. It may be cancelled."""

    async def close(self) -> None:
        """Let go of connections."""


class Store(Protocol):
    """Values by (space, key). A space is a name of up to 200 letters (A to z), digits and "_-./@:", a key is any
    bytes up to 1 KiB, none included, a value any bytes up to 256 MiB.

    Every method may raise StoreError (the server is away, the disk is full, it took too long) and may then be
    called again. A process may be killed at any moment; each value is then as it was or as it was to be, whole.
    Any number of processes may read and write at once. Threads may share a store; processes may not, so open it
    after a fork.
    """

    def read(self, addresses: Sequence[tuple[str, bytes]]) -> list[Value | None]:
        """The value of each (space, key), in one round trip; None where there is none."""

    def write(self, space: str, writes: Sequence[Write]) -> list[bool]:
        """Write each value unless another version than it replaces is there; whether each was written. Where a key
        occurs twice, the later one finds what the earlier one wrote.

        Not one transaction: when it raises, some may be written. What is True is on the disk as far as the server
        promises that at all. Raises UsageError for a name, key or value that no store takes.
        """

    def scan(self, space: str) -> Iterator[tuple[bytes, Value]]:
        """Every key and value of a space, once each and in no order; those written meanwhile may or may not be
        among them. It fetches some hundred kilobytes at a time, and raises while it is iterated.
        """

    def spaces(self, prefix: str = "") -> list[str]:
        """The names of the spaces that have values and begin so, sorted."""

    def drop(self, space: str) -> None:
        """Remove all values of a space. Those that are written meanwhile may be removed, too."""

    def close(self) -> None:
        """Let go of connections and files."""
