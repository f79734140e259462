"""The table: what readers see, and how one generation takes the place of another."""

import time
from collections.abc import Callable, Sequence

from cassandra import ConsistencyLevel
from cassandra.cluster import Session

from mlops_kit.errors import UsageError, listed
from mlops_kit.tables.address import Address
from mlops_kit.tables.cassandra.columns import plan_columns
from mlops_kit.tables.cassandra.connection import connect
from mlops_kit.tables.cassandra.failures import plain_failures
from mlops_kit.tables.cassandra.layout import Target, parse_target, prepare_tables
from mlops_kit.tables.cassandra.registry import Entry, Registry
from mlops_kit.tables.cassandra.rows import CHUNK_ROWS, Rows
from mlops_kit.tables.generation import Generation, key_text
from mlops_kit.tables.interface import Published, StoredPrediction

LEASE_S = 60
"""How long after its last sign of life a publisher counts as dead."""


def open_table(address: Address, password: str = "") -> "CassandraTable":
    """Connect. Raises UsageError, and StoreError if no node can be reached."""
    target = parse_target(address)
    return CassandraTable(address, target, connect(address, password))


class CassandraTable:
    """A table in a keyspace. Threads may share it."""

    def __init__(self, address: Address, target: Target, session: Session, lease_s: int = LEASE_S) -> None:
        self._address = address
        self._target = target
        self._session = session
        self._lease_s = lease_s
        self._registry = Registry(session, target, lease_s)
        self._rows = Rows(session, target)

    def current(self) -> Published | None:
        """The generation that the pointer names."""
        with plain_failures(self._address):
            entry = self._registry.read().current
        return _published(entry) if entry else None

    def publish(self, generation: Generation, keep: int, on_rows: Callable[[int], None]) -> None:
        """Rows are overwritten where they are there already. To claim a generation that another process is loading
        ends that process's publication with a StoreError.
        """
        if not generation.key:
            raise UsageError("Cassandra stores rows by their key", "none was chosen", "choose --key")
        columns = plan_columns(generation.schema)
        with plain_failures(self._address):
            current = self._registry.read(ConsistencyLevel.SERIAL).current
            if current is None or current.name != generation.name:
                prepare_tables(self._session, self._target, columns)
                entry = self._registry.claim(generation, columns)
                self._load(entry, generation, on_rows)
                self._registry.switch(entry)
            for retired in self._registry.retire(keep):
                self._rows.delete(retired)
                self._registry.forget(retired)

    def rollback(self) -> Published:
        """Its rows are deleted by the next publication."""
        with plain_failures(self._address):
            return _published(self._registry.rollback())

    def get(self, key: Sequence[str]) -> StoredPrediction | None:
        """Two requests; more only where the table has no such row, or was switched in between."""
        with plain_failures(self._address):
            state = self._registry.read()
            while (entry := state.current) is not None:
                self._check_key(entry, key)
                values = self._rows.find(entry, key_text(key))
                if values is not None:
                    return StoredPrediction(values, entry.digest, entry.predicted_at)
                version, state = state.version, self._registry.read()
                if state.version == version:
                    return None
        what = f"{self._address}: nothing was ever published there"
        raise UsageError(what, fix="mlkit batch-predict publishes")

    def close(self) -> None:
        """Disconnect."""
        self._session.cluster.shutdown()

    def _load(self, entry: Entry, generation: Generation, on_rows: Callable[[int], None]) -> None:
        renewed = time.monotonic()
        for rows in self._rows.write(entry, generation.batches(CHUNK_ROWS)):
            if time.monotonic() > renewed + self._lease_s / 4:
                renewed = time.monotonic()
                self._registry.renew(entry)
            on_rows(rows)

    def _check_key(self, entry: Entry, key: Sequence[str]) -> None:
        if len(key) != len(entry.key):
            what = f"{self._address}: its key is {listed(entry.key)}"
            raise UsageError(what, f"{len(key)} given", "give one for each column, in this order")


def _published(entry: Entry) -> Published:
    return Published(entry.name, entry.digest, entry.predicted_at, entry.rows)
