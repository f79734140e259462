"""Which generations a table has, and which of them is current: one partition, changed by lightweight transactions.

    version      counts the switches of the table
    publication  the version that this generation became current with; null if it never did, or was rolled back
    stamp        the timestamp of the generation's rows, new whenever it is claimed for loading or retired
    lease        the stamp, for as long as the publisher is alive

A change is made on condition that `version` and `stamp` still are as they were read. Rows are written and deleted
with the stamp as their timestamp. So a retired generation can be published again while its old rows are still
being deleted, and a publisher that was thought dead does no harm: its stamp is not the generation's any more.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from cassandra import ConsistencyLevel
from cassandra.cluster import Session

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.tables.cassandra.columns import Column
from mlops_kit.tables.cassandra.layout import GENERATIONS, Target, has_table
from mlops_kit.tables.generation import Generation

COLUMNS = "generation, stamp, lease, publication, is_retired, digest, predicted_at, rows, key_columns, columns"


@dataclass(frozen=True, slots=True)
class Entry:
    """A generation of the table. `stamp` is None while its first publisher is about to write it."""

    name: str
    stamp: int | None
    publication: int | None
    digest: str
    predicted_at: str
    rows: int
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    is_leased: bool = False
    is_retired: bool = False

    @property
    def is_offered(self) -> bool:
        """Whether it is, or could again become, the current one."""
        return self.publication is not None and not self.is_retired


@dataclass(frozen=True, slots=True)
class State:
    """A table's generations at one moment."""

    version: int | None
    current: Entry | None
    entries: Mapping[str, Entry]

    def before_current(self) -> list[Entry]:
        """What can be rolled back to, the newest first."""
        if self.current is None:
            return []
        others = [e for e in self.entries.values() if e.is_offered and e.name != self.current.name]
        return sorted(others, key=lambda entry: entry.publication or 0, reverse=True)

    def surplus(self, keep: int) -> list[Entry]:
        """What nobody shall read any more, and no live publisher is loading."""
        kept = {entry.name for entry in (self.current, *self.before_current()[: keep - 1]) if entry}
        idle = [e for e in self.entries.values() if not e.is_leased and not e.is_retired]
        return [entry for entry in idle if entry.name not in kept]


class Registry:
    """The generations of one table. Every method may raise what the driver raises."""

    def __init__(self, session: Session, target: Target, lease_s: int) -> None:
        self._session = session
        self._target = target
        self._lease_s = lease_s
        self._is_there = False
        self._prepare = cache(session.prepare)

    def read(self, consistency: int = ConsistencyLevel.QUORUM) -> State:
        """What readers see; with ConsistencyLevel.SERIAL, after every change that somebody has begun."""
        self._is_there = self._is_there or has_table(self._session, self._target.keyspace, GENERATIONS)
        if not self._is_there:
            return State(None, None, {})
        cql = f"SELECT current, version, {COLUMNS} FROM {self._target.generations} WHERE table_name = ?"
        selected = self._prepare(cql).bind((self._target.table,))
        selected.consistency_level = consistency
        found = list(self._session.execute(selected))
        # Without generations, a partition that has static columns gives one row of nulls.
        entries = {row[2]: _entry(row[2:]) for row in found if row[2] is not None}
        current, version = found[0][:2] if found else (None, None)
        return State(version, entries[current] if current else None, entries)

    def claim(self, generation: Generation, columns: tuple[Column, ...]) -> Entry:
        """Take a lease on a generation to load it, from another publisher too."""
        while True:
            state = self.read(ConsistencyLevel.SERIAL)
            before = state.entries.get(generation.name)
            old_stamp = before.stamp if before else None
            publication = before.publication if before and not before.is_retired else None
            entry = Entry(
                generation.name, _next_stamp(old_stamp), publication, generation.digest, generation.predicted_at,
                generation.rows, generation.key, columns,
            )  # fmt: skip
            if self._change(
                "USING TTL ? SET lease = ?", (self._lease_s, entry.stamp),
                entry.name, "version = ? AND stamp = ?", (state.version, old_stamp),
            ) and self._change(
                "SET stamp = ?, publication = ?, is_retired = null, digest = ?, predicted_at = ?, rows = ?, "
                "key_columns = ?, columns = ?", (entry.stamp, publication, *_facts(entry)),
                entry.name, "version = ? AND stamp = ? AND lease = ?", (state.version, old_stamp, entry.stamp),
            ):  # fmt: skip
                return entry

    def renew(self, entry: Entry) -> None:
        """Go on with a lease. Raises StoreError if somebody else has claimed or retired the generation."""
        values = (self._lease_s, entry.stamp)
        if not self._change("USING TTL ? SET lease = ?", values, entry.name, "stamp = ?", (entry.stamp,)):
            raise _taken_over(entry)

    def switch(self, entry: Entry) -> None:
        """Make a loaded generation the current one. Raises StoreError like renew()."""
        while True:
            state = self.read(ConsistencyLevel.SERIAL)
            if entry.name not in state.entries or state.entries[entry.name].stamp != entry.stamp:
                raise _taken_over(entry)
            version = (state.version or 0) + 1
            if self._change(
                "SET current = ?, version = ?, publication = ?, lease = null", (entry.name, version, version),
                entry.name, "version = ? AND stamp = ?", (state.version, entry.stamp),
            ):  # fmt: skip
                return

    def rollback(self) -> Entry:
        """Retire the current generation, and make the one before it current; UsageError if there is none."""
        while True:
            state = self.read(ConsistencyLevel.SERIAL)
            if state.current is None:
                fix = "mlkit batch-predict publishes"
                raise UsageError(f"{self._target.table}: nothing was ever published there", fix=fix)
            if not state.before_current():
                fix = "keep more of them next time with --keep-generations"
                raise UsageError(f"{self._target.table}: no generation before the current one is left", fix=fix)
            rolled_back, before = state.current, state.before_current()[0]
            values = (before.name, (state.version or 0) + 1, _next_stamp(rolled_back.stamp))
            if self._change(
                "SET current = ?, version = ?, stamp = ?, is_retired = true", values,
                rolled_back.name, "version = ? AND stamp = ?", (state.version, rolled_back.stamp),
            ):  # fmt: skip
                return before

    def retire(self, keep: int) -> list[Entry]:
        """Mark what nobody shall read any more, and return it, with what was marked earlier and is still there."""
        while surplus := (state := self.read(ConsistencyLevel.SERIAL)).surplus(keep):
            for entry in surplus:
                self._change(
                    "SET is_retired = true, stamp = ?", (_next_stamp(entry.stamp),),
                    entry.name, "version = ? AND stamp = ? AND lease = null", (state.version, entry.stamp),
                )  # fmt: skip
        return [entry for entry in state.entries.values() if entry.is_retired]

    def forget(self, entry: Entry) -> None:
        """Remove a retired generation whose rows are all deleted; one that was claimed meanwhile stays."""
        cql = f"DELETE FROM {self._target.generations} WHERE table_name = ? AND generation = ? IF stamp = ?"
        self._session.execute(self._prepare(cql), (self._target.table, entry.name, entry.stamp))

    def _change(
        self, change: str, values: Sequence[object], name: str, condition: str, expected: Sequence[object]
    ) -> bool:
        """Change a generation's row on a condition, and say whether it was met."""
        table = self._target.generations
        cql = f"UPDATE {table} {change} WHERE table_name = ? AND generation = ? IF {condition}"
        result = self._session.execute(self._prepare(cql), (*values, self._target.table, name, *expected))
        return bool(result.was_applied)


def _next_stamp(before: int | None) -> int:
    """Microseconds as Cassandra's timestamps are, and later than before, whatever the clocks of machines say."""
    return max(time.time_ns() // 1000, (before or 0) + 1)


def _taken_over(entry: Entry) -> StoreError:
    what = f"{entry.name}: this process may not go on publishing it"
    return StoreError(what, "another one publishes it, or thought that this one had died", "run again")


def _facts(entry: Entry) -> tuple[str, str, int, str, str]:
    key, columns = (msgspec.json.encode(names).decode() for names in (entry.key, entry.columns))
    return entry.digest, entry.predicted_at, entry.rows, key, columns


def _entry(row: tuple[Any, ...]) -> Entry:
    name, stamp, lease, publication, is_retired, digest, predicted_at, rows, key, columns = row
    return Entry(
        name, stamp, publication, digest or "", predicted_at or "", rows or 0,
        msgspec.json.decode(key or "[]", type=tuple[str, ...]),
        msgspec.json.decode(columns or "[]", type=tuple[Column, ...]),
        lease is not None, bool(is_retired),
    )  # fmt: skip
