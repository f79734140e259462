"""The table: what readers see, and how one generation takes the place of another."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import orjson
import redis
from redis.exceptions import OutOfMemoryError, RedisError

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.tables.address import Address
from mlops_kit.tables.generation import Generation, key_text
from mlops_kit.tables.interface import Published, StoredPrediction
from mlops_kit.tables.redis.catalog import (
    Entry,
    Names,
    in_use,
    newest_first,
    publish_entry,
    read_entries,
    retire_entry,
)
from mlops_kit.tables.redis.connection import connect, read_options, refuse_eviction
from mlops_kit.tables.redis.encoding import RowEncoder
from mlops_kit.tables.redis.failures import plain_failures
from mlops_kit.tables.redis.loading import LEASE_S, Lease, load_rows
from mlops_kit.tables.redis.sweeping import sweep


def open_table(address: Address, password: str = "") -> "RedisTable":
    """The table on this server. Raises UsageError, and StoreError if the server cannot be reached."""
    client = connect(address, password)
    with plain_failures(address):
        client.ping()
    return RedisTable(address, client)


class RedisTable:
    """A table in Redis or Valkey. Threads may share it."""

    def __init__(self, address: Address, client: redis.Redis) -> None:
        self._address = address
        self._options = read_options(address)
        self._client = client
        self._names = Names(address.table)
        self._seen: tuple[str, Entry] | None = None

    def current(self) -> Published | None:
        """One round trip."""
        with plain_failures(self._address):
            found = self._find_current()
        return found[1].published_as(found[0]) if found else None

    def publish(self, generation: Generation, keep: int, on_rows: Callable[[int], None]) -> None:
        """Rows of generations beyond `keep` stay readable for the address' `grace_s`, and then expire."""
        if not generation.key:
            raise UsageError("Redis stores rows by their key", "none was chosen", "choose --key")
        encoder = RowEncoder(generation.schema, generation.key, self._names.rows(generation.name))
        lease = Lease(self._names.lease(generation.name))
        with plain_failures(self._address):
            self._find_current()
            if not self._options.is_eviction_accepted:
                refuse_eviction(self._client, self._address)
            self._sweep()
            if is_loading := self._take(lease, generation):
                self._load(generation, encoder, lease, on_rows)
            self._switch(generation.name, keep, lease if is_loading else None)
            self._sweep()

    def rollback(self) -> Published:
        """The rows of the one rolled back stay until the next publication."""
        with plain_failures(self._address):
            self._find_current()
            result: Published = self._client.transaction(
                self._roll_back, self._names.generations, value_from_callable=True
            )
        return result

    def get(self, key: Sequence[str]) -> StoredPrediction | None:
        """One command, and two round trips more when another generation has become current."""
        with plain_failures(self._address):
            while True:
                self._seen = seen = self._seen or self._find_current()
                if not seen:
                    raise self._nothing_published()
                name, entry = seen
                # One command, between whose reads nothing happens.
                current, row = self._client.mget(self._names.current, self._names.rows(name) + key_text(key))
                if current == name.encode():
                    break
                self._seen = None
        if len(key) != len(entry.key):
            named = ", ".join(repr(column) for column in entry.key)
            raise UsageError(f"{self._address}: its key is {named}", f"{len(key)} given")
        return StoredPrediction(orjson.loads(row), entry.digest, entry.predicted_at) if row else None

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _find_current(self) -> tuple[str, Entry] | None:
        """Raises UsageError if the table's keys are somebody else's."""
        while True:
            # A transaction would do, but users that may only read are seldom allowed to begin one.
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.get(self._names.current)
                pipeline.hgetall(self._names.generations)
                pipeline.get(self._names.current)
                current, fields, after = pipeline.execute()
            if current == after:
                break
        entries = read_entries(self._names, fields)
        if current is None:
            return None
        name = current.decode(errors="replace")
        if name not in entries:
            raise in_use(self._names.current)
        return name, entries[name]

    def _take(self, lease: Lease, generation: Generation) -> bool:
        """Enter the generation as one that is loading, unless it is published already."""
        entry = Entry(generation.digest, generation.predicted_at, generation.rows, list(generation.key))

        def take(pipeline: Any) -> bool:
            found = self._entries(pipeline).get(generation.name)
            pipeline.multi()
            if found and found.state == "published":
                return False
            pipeline.hset(self._names.generations, generation.name, msgspec.json.encode(entry))
            pipeline.set(lease.key, lease.token, ex=LEASE_S)
            return True

        return bool(self._client.transaction(take, self._names.generations, value_from_callable=True))

    def _load(
        self, generation: Generation, encoder: RowEncoder, lease: Lease, on_rows: Callable[[int], None]
    ) -> None:
        try:
            load_rows(self._client, generation, encoder, lease, on_rows)
        except BaseException as error:
            # Without a connection it cannot be given back, and expires.
            with suppress(RedisError):
                lease.release(self._client)
                if isinstance(error, OutOfMemoryError):
                    self._sweep()
            raise

    def _switch(self, name: str, keep: int, lease: Lease | None) -> None:
        """`lease` is None where the generation was published already, and so not loaded."""
        lease_key = self._names.lease(name)

        def switch(pipeline: Any) -> None:
            entries = self._entries(pipeline)
            if lease:
                lease.check(pipeline.get(lease_key))
            elif name not in newest_first(entries):
                raise StoreError(f"{name} was retired by another publication meanwhile", fix="run again")
            pipeline.multi()
            for changed, entry in publish_entry(entries, name, keep).items():
                pipeline.hset(self._names.generations, changed, msgspec.json.encode(entry))
            pipeline.set(self._names.current, name)
            pipeline.delete(lease_key)

        self._client.transaction(switch, self._names.generations, lease_key)

    def _roll_back(self, pipeline: Any) -> Published:
        entries = self._entries(pipeline)
        newest = newest_first(entries)
        if not newest:
            raise self._nothing_published()
        if len(newest) < 2:
            fix = "keep more of them next time with --keep-generations"
            raise UsageError(f"{self._address}: no generation before the current one is left", fix=fix)
        current, before = newest[:2]
        pipeline.multi()
        pipeline.hset(self._names.generations, current, msgspec.json.encode(retire_entry(entries[current])))
        pipeline.set(self._names.current, before)
        return entries[before].published_as(before)

    def _nothing_published(self) -> UsageError:
        fix = "mlkit batch-predict publishes"
        return UsageError(f"{self._address}: nothing was ever published there", fix=fix)

    def _sweep(self) -> None:
        sweep(self._client, self._names, self._entries(self._client), self._options.grace_s)

    def _entries(self, client: redis.Redis) -> dict[str, Entry]:
        return read_entries(self._names, client.hgetall(self._names.generations))
