"""A store in this process, for tests of what runs above stores; it can be made to fail in the middle of a write."""

from collections.abc import Iterator, Sequence
from threading import Lock

from mlops_kit.errors import StoreError
from mlops_kit.stores.interface import Value, Write


class MemoryStore:
    """`fails_after`: how many more values are written before a write fails, once. `reads`: how many round trips."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, bytes], Value] = {}
        self.fails_after: int | None = None
        self.reads = 0
        self._lock = Lock()

    def read(self, addresses: Sequence[tuple[str, bytes]]) -> list[Value | None]:
        self.reads += 1
        with self._lock:
            return [self.values.get(address) for address in addresses]

    def write(self, space: str, writes: Sequence[Write]) -> list[bool]:
        return [self._write_one(space, write) for write in writes]

    def scan(self, space: str) -> Iterator[tuple[bytes, Value]]:
        yield from [(key, value) for (name, key), value in self.values.items() if name == space]

    def spaces(self, prefix: str = "") -> list[str]:
        return sorted({space for space, _ in self.values if space.startswith(prefix)})

    def drop(self, space: str) -> None:
        for address in [address for address in self.values if address[0] == space]:
            del self.values[address]

    def close(self) -> None:
        pass

    def _write_one(self, space: str, write: Write) -> bool:
        if self.fails_after is not None:
            if not self.fails_after:
                self.fails_after = None
                raise StoreError("the store is away")
            self.fails_after -= 1
        with self._lock:
            found = self.values.get((space, write.key))
            version = found.version if found else 0
            if write.replaces is not None and write.replaces != version:
                return False
            self.values[space, write.key] = Value(version + 1, write.data)
            return True
