"""The generations that a table has, and what publishing and rolling back make of them.

A generation is `loading`, then `published`, then `retired`, and then forgotten. Of the published ones, that with
the highest `order` is current. Rows are removed only of generations that are retired, and of those that are
loading while nobody holds their lease.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from mlops_kit.errors import UsageError
from mlops_kit.tables.interface import Published


@dataclass(frozen=True, slots=True)
class Names:
    """What the keys of a table are called."""

    table: str

    @property
    def current(self) -> str:
        """A string: the current generation."""
        return f"{self.table}:current"

    @property
    def generations(self) -> str:
        """A hash: generation → Entry, as JSON."""
        return f"{self.table}:generations"

    def lease(self, generation: str) -> str:
        """A string that expires: whoever loads the generation now."""
        return f"{self.table}:lease:{generation}"

    def rows(self, generation: str) -> str:
        """What the key of every row of a generation begins with."""
        return f"{self.table}:{generation}:"


class Entry(msgspec.Struct, frozen=True):
    """What a generation is. `order` counts the table's publications, and is 0 before the generation's own."""

    digest: str
    predicted_at: str
    rows: int
    key: list[str]
    state: Literal["loading", "published", "retired"] = "loading"
    order: int = 0

    def published_as(self, name: str) -> Published:
        """The generation as readers of the table see it."""
        return Published(name, self.digest, self.predicted_at, self.rows)


Entries = Mapping[str, Entry]
"""By the names of the generations."""


def read_entries(names: Names, fields: Mapping[bytes, bytes]) -> dict[str, Entry]:
    """What the hash holds. Raises UsageError if something else wrote it."""
    try:
        return {name.decode(): msgspec.json.decode(text, type=Entry) for name, text in fields.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise in_use(names.generations) from error


def in_use(key: str) -> UsageError:
    """The refusal to touch a key that something else wrote."""
    return UsageError(f"{key} is in use by something else", "mlkit did not write it", "choose another ?table=")


def publish_entry(entries: Entries, name: str, keep: int) -> dict[str, Entry]:
    """The entries that change when a generation becomes current and `keep` are left.

    >>> def entry(state, order=0): return Entry("", "", 0, [], state, order)
    >>> entries = {"a": entry("published", 1), "b": entry("published", 2), "c": entry("loading")}
    >>> {name: (change.state, change.order) for name, change in publish_entry(entries, "c", keep=2).items()}
    {'c': ('published', 3), 'a': ('retired', 1)}
    """
    changes = {}
    newest = newest_first(entries)
    if newest[:1] != [name]:
        order = 1 + max(entry.order for entry in entries.values())
        changes[name] = msgspec.structs.replace(entries[name], state="published", order=order)
    for other in [other for other in newest if other != name][keep - 1 :]:
        changes[other] = retire_entry(entries[other])
    return changes


def retire_entry(entry: Entry) -> Entry:
    """The entry of a generation that readers are not sent to any more."""
    return msgspec.structs.replace(entry, state="retired")


def newest_first(entries: Entries) -> list[str]:
    """The published generations: the current one, and those that a rollback can make current, in turn."""
    names = [name for name, entry in entries.items() if entry.state == "published"]
    return sorted(names, key=lambda name: entries[name].order, reverse=True)
