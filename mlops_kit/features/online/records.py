"""What a store knows of a source and of a table: where their values are, and what they came from.

Both are small JSON values that change in one step, each made from the version that it replaces.
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from mlops_kit.errors import StoreError
from mlops_kit.features.layout import Layout
from mlops_kit.features.online.rows import RowCodec
from mlops_kit.stores.interface import Store, Value, Write

CURRENT: Final = "current"
CHECKPOINT: Final = "checkpoint"
GRACE_US: Final = 300_000_000
"""How long what is no longer current can still be read: longer than any reader goes without looking."""

LEFTOVER_US: Final = 86_400_000_000
"""No run takes longer: a generation that is older and was never current was left by one that was killed."""

MOST_ATTEMPTS: Final = 1000


class File(msgspec.Struct, frozen=True):
    """A file as it was when it was read."""

    name: str
    size: int
    rows: int


class Retired(msgspec.Struct, frozen=True):
    """A space that nobody is led to any more, since then."""

    space: str
    at_us: int


class SourceRecord(msgspec.Struct, frozen=True):
    """Which events are in the state, and in which space that is.

    - `generation`: of the space; "" for the first.
    - `from_history`, `pushed`: the highest sequence number applied from each; `pushed_first` the lowest pushed.
    - `is_filling`: history is being applied to keys that no event may be pushed to before.
    - `complete_since_us`: questions from then on can be answered; what matters only to older ones is left out.
    """

    generation: str = ""
    from_history: int = -1
    pushed: int = -1
    pushed_first: int = -1
    is_filling: bool = False
    complete_since_us: int | None = None
    retired: tuple[Retired, ...] = ()

    @property
    def applied(self) -> int:
        """The highest sequence number that was acknowledged."""
        return max(self.from_history, self.pushed)


class HistoryRecord(msgspec.Struct, frozen=True):
    """How far a history is applied: all of the files but the last, and `rows` rows altogether."""

    files: tuple[File, ...] = ()
    rows: int = 0


class TableRecord(msgspec.Struct, frozen=True):
    """The generation of a table that readers see: from which files, complete since when, and made when."""

    generation: str = ""
    files: tuple[File, ...] = ()
    as_of_us: int = 0
    made_us: int = 0
    rows: int = 0
    retired: tuple[Retired, ...] = ()


Record = TypeVar("Record", SourceRecord, HistoryRecord, TableRecord)


def source_key(layout: Layout) -> bytes:
    """Under which a source's record is in CHECKPOINT, which a new definition of its windows does not share."""
    return f"events/{layout.source}/{layout.digest[:16]}".encode()


def history_key(layout: Layout, generation: str) -> bytes:
    """Under which the files are in CHECKPOINT that a generation of state was filled from."""
    return f"history/{layout.source}/{layout.digest[:16]}@{generation}".encode()


def events_space(layout: Layout, generation: str) -> str:
    """Where the states of a source's keys are."""
    return f"events/{layout.source}/{layout.digest[:16]}" + (f"@{generation}" if generation else "")


def table_key(name: str, codec: RowCodec) -> bytes:
    """Under which a table's record is in CURRENT."""
    return f"table/{name}/{codec.digest}".encode()


def table_space(name: str, codec: RowCodec, generation: str) -> str:
    """Where the rows of a generation are."""
    return f"table/{name}/{codec.digest}@{generation}"


def decode_record(kind: type[Record], value: Value | None) -> Record:
    """The record; an empty one if there is none. Raises StoreError for what is none."""
    if value is None:
        return kind()
    try:
        return msgspec.json.decode(value.data, type=kind)
    except msgspec.DecodeError as error:
        what = "a checkpoint of features in the store is damaged, or of another version of mlkit"
        fix = "upgrade mlkit, or choose another store and fill it anew"
        raise StoreError(what, str(error), fix) from error


def read_record(kind: type[Record], store: Store, space: str, key: bytes) -> Record:
    """The record as it is now."""
    return decode_record(kind, store.read([(space, key)])[0])


def change_record(
    kind: type[Record], store: Store, address: tuple[str, bytes], change: Callable[[Record], Record]
) -> Record:
    """Write what `change` makes of the record, which it may do several times; the record after that."""
    for _ in range(MOST_ATTEMPTS):
        value = store.read([address])[0]
        before = decode_record(kind, value)
        after = change(before)
        if after == before and value is not None:
            return after
        write = Write(address[1], msgspec.json.encode(after), value.version if value else 0)
        if store.write(address[0], [write])[0]:
            return after
    raise StoreError("a checkpoint in the store cannot be written", "others change it all the time", "try again")


def drop_unused(store: Store, prefix: str, generation: str, retired: tuple[Retired, ...]) -> tuple[Retired, ...]:
    """Drop what was retired long enough ago, and what runs left that were killed; what is still retired."""
    now = now_us()
    kept = tuple(one for one in retired if now - one.at_us <= GRACE_US)
    for one in retired:
        if one not in kept:
            store.drop(one.space)
    for space in store.spaces(prefix):
        is_old = space.removeprefix(prefix) < name_generation(now - LEFTOVER_US)
        if is_old and space not in {prefix + generation, *(one.space for one in retired)}:
            store.drop(space)
    return kept


def name_generation(at_us: int | None = None) -> str:
    """A name that sorts by time and never comes twice."""
    moment = datetime.fromtimestamp((now_us() if at_us is None else at_us) / 1e6, UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond:06d}-{secrets.token_hex(3)}"


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000
