"""How values stand in Redis, and how they are asked for."""

from collections.abc import Iterable, Mapping, Sequence

from mlops_kit.stores.interface import Value

PREFIX = "mlkit:values:1:"
VERSION_BYTES = 8


def name_of(space: str) -> bytes:
    """The hash of a space."""
    return f"{PREFIX}{space}".encode()


def value_of(stored: bytes) -> Value:
    """The value that a field holds."""
    return Value(int.from_bytes(stored[:VERSION_BYTES], "big"), stored[VERSION_BYTES:])


def by_space(addresses: Sequence[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    """The keys of each space, which one command asks for."""
    keys: dict[str, list[bytes]] = {}
    for space, key in addresses:
        keys.setdefault(space, []).append(key)
    return keys


def values_of(
    addresses: Sequence[tuple[str, bytes]], found: Mapping[str, Iterable[bytes | None]]
) -> list[Value | None]:
    """The values in the order of their addresses, from what each space's command gave."""
    rest = {space: iter(stored) for space, stored in found.items()}
    values = [next(rest[space]) for space, _ in addresses]
    return [None if stored is None else value_of(stored) for stored in values]
