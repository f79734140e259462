"""A store of any kind whose user dies in the middle of a write, and comes back with a connection of its own."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from mlops_kit.errors import StoreError
from mlops_kit.stores.interface import Store, Value, Write
from mlops_kit.stores.resolve import open_store


class Crashing(Store, Protocol):
    """`fails_after`: how many more values are written before a write fails, once."""

    fails_after: int | None


class CrashingStore:
    """The store at an address, emptied."""

    def __init__(self, address: str) -> None:
        self.fails_after: int | None = None
        self._address = address
        self._store = open_store(address)
        for space in self._store.spaces():
            self._store.drop(space)

    def write(self, space: str, writes: Sequence[Write]) -> list[bool]:
        if self.fails_after is None or self.fails_after >= len(writes):
            self.fails_after = None if self.fails_after is None else self.fails_after - len(writes)
            return self._store.write(space, writes)
        self._store.write(space, writes[: self.fails_after])
        self.fails_after = None
        self._store.close()
        self._store = open_store(self._address)
        raise StoreError("whoever wrote is dead")

    def read(self, addresses: Sequence[tuple[str, bytes]]) -> list[Value | None]:
        return self._store.read(addresses)

    def scan(self, space: str) -> Iterator[tuple[bytes, Value]]:
        return self._store.scan(space)

    def spaces(self, prefix: str = "") -> list[str]:
        return self._store.spaces(prefix)

    def drop(self, space: str) -> None:
        self._store.drop(space)

    def close(self) -> None:
        self._store.close()
