"""What the tests of the contract share: a model of a store, and steps that are taken with both."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from mlops_kit.stores.interface import Store, Value, Write

SPACES = ("a", "ab", "a:b", "A", "features/airports@g20261121.1", "a" * 200)
"""One begins as another, and one differs in case."""
KEYS = (b"", b"\0", b"\0\0", b"k", b"K", b"k\0", b"k\0\0", b"k ", b"*", b"[k]", b"?", b"\\", b"'\"%$1{}:", b"\xff" * 1024,
        "é".encode(), "é".encode("latin-1"), b"1", b"01", b"1.0", b"\r\n", b"NULL", b"\\x6b")  # fmt: skip
"""Keys that something on the way could confuse."""

spaces = st.sampled_from(SPACES[:4])
keys = st.sampled_from(KEYS[:4]) | st.sampled_from(KEYS) | st.binary(max_size=3)
writes = st.builds(Write, keys, st.binary(max_size=20), st.none() | st.integers(0, 4) | st.just(2**40))
steps = st.one_of(
    st.tuples(st.just("write"), spaces, st.lists(writes, max_size=12)),
    st.tuples(st.just("read"), st.lists(st.tuples(spaces, keys), max_size=12)),
    st.tuples(st.just("scan"), spaces),
    st.tuples(st.just("spaces"), st.sampled_from(["", "a", "a:", "b", "%", "*"])),
    st.tuples(st.just("drop"), spaces),
)


@dataclass
class Model:
    """A store in a dict, written to be read rather than to be fast."""

    values: dict[tuple[str, bytes], Value] = field(default_factory=dict)

    def read(self, addresses: Sequence[tuple[str, bytes]]) -> list[Value | None]:
        return [self.values.get(address) for address in addresses]

    def write(self, space: str, writes: Sequence[Write]) -> list[bool]:
        return [self._write(space, write) for write in writes]

    def _write(self, space: str, write: Write) -> bool:
        old = self.values.get((space, write.key))
        version = old.version if old else 0
        if write.replaces not in (None, version):
            return False
        self.values[space, write.key] = Value(version + 1, write.data)
        return True

    def scan(self, space: str) -> dict[bytes, Value]:
        return {key: value for (name, key), value in self.values.items() if name == space}

    def spaces(self, prefix: str) -> list[str]:
        return sorted({name for name, _ in self.values if name.startswith(prefix)})

    def drop(self, space: str) -> None:
        self.values = {address: value for address, value in self.values.items() if address[0] != space}


def scanned(store: Store, space: str) -> dict[bytes, Value]:
    """What a scan gives, each key once."""
    found = list(store.scan(space))
    assert len(found) == len(dict(found))
    return dict(found)


def value_of(store: Store, key: bytes, space: str = "a") -> Value | None:
    return store.read([(space, key)])[0]
