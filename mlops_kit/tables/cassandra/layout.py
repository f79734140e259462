"""The tables in a keyspace: what they are called, and how they are made and extended when a generation needs it.

Before Cassandra 6, two nodes that make the same table in the same instant may make it differently: where several
machines publish to one table for the first time, let one of them begin.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cassandra import InvalidRequest
from cassandra.cluster import Session

from mlops_kit.errors import UsageError, listed
from mlops_kit.tables.address import Address
from mlops_kit.tables.cassandra.columns import RESERVED, Column
from mlops_kit.tables.sql.columns import quoted

GENERATIONS, KEYS = "mlkit_generations", "mlkit_keys"
"""Tables that say what the other tables of the keyspace have."""
SCHEMA_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """A table of predictions in a keyspace. The properties are names of tables, quoted as CQL needs them."""

    keyspace: str
    table: str

    @property
    def rows(self) -> str:
        """The predictions."""
        return self._qualified(self.table)

    @property
    def generations(self) -> str:
        """See registry.py."""
        return self._qualified(GENERATIONS)

    @property
    def keys(self) -> str:
        """See rows.py."""
        return self._qualified(KEYS)

    def _qualified(self, table: str) -> str:
        return f"{quoted(self.keyspace)}.{quoted(table)}"


def parse_target(address: Address) -> Target:
    """Read an address. Raises UsageError if Cassandra could not have a table of that name."""
    if not address.path:
        raise UsageError(f"{address}: which keyspace?", fix="write cassandra://HOST/KEYSPACE?table=NAME")
    if address.options:
        names = [name for name, _ in address.options]
        raise UsageError(f"{address}: Cassandra has no options {listed(names)}", fix="leave them out")
    if not re.fullmatch(r"\w{1,48}", address.table, re.ASCII) or address.table in (GENERATIONS, KEYS):
        fix = f"choose 1 to 48 letters, digits and underscores, and neither {GENERATIONS} nor {KEYS}"
        raise UsageError(f"Cassandra takes no table name {address.table!r}", fix=fix)
    return Target(address.path, address.table)


def has_table(session: Session, keyspace: str, table: str) -> bool:
    """Whether there is such a table."""
    query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s"
    return session.execute(query, (keyspace, table)).one() is not None


def prepare_tables(session: Session, target: Target, columns: Sequence[Column]) -> None:
    """Make what is missing. What is there is not asked for again, as that would need the permission to make it.

    Raises UsageError if the table has a column of another type, or is not one of predictions.
    """
    definitions = {
        GENERATIONS: """table_name text, current text STATIC, version bigint STATIC, generation text, stamp bigint,
            lease bigint, publication bigint, is_retired boolean, digest text, predicted_at text, rows bigint,
            key_columns text, columns text, PRIMARY KEY (table_name, generation)""",
        KEYS: """table_name text, generation text, chunk int, keys frozen<list<text>>,
            PRIMARY KEY ((table_name, generation, chunk))""",
        target.table: "generation text, key text, PRIMARY KEY ((generation, key))",
    }
    for table, definition in definitions.items():
        if not has_table(session, target.keyspace, table):
            name = f"{quoted(target.keyspace)}.{quoted(table)}"
            session.execute(f"CREATE TABLE IF NOT EXISTS {name} ({definition})")
    stored = [column for column in columns if column.cql_type]
    _add_columns(session, target, stored)
    _await_table(session, f"SELECT generation FROM {target.generations}")
    _await_table(session, f"SELECT generation FROM {target.keys}")
    _await_table(session, f"SELECT {', '.join(column.quoted for column in stored)} FROM {target.rows}")


def _add_columns(session: Session, target: Target, columns: Sequence[Column]) -> None:
    query = (
        "SELECT column_name, type, kind FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s"
    )
    present = list(session.execute(query, (target.keyspace, target.table)))
    if {(name, kind) for name, _, kind in present if kind != "regular"} != {
        (r, "partition_key") for r in RESERVED
    }:
        what = f"there is a table {target.table!r} already that mlkit did not make"
        raise UsageError(what, "its partition key is not (generation, key)", "write another ?table=NAME")
    types = {name: type_ for name, type_, _ in present}
    for column in columns:
        if (found := types.get(column.name, column.cql_type)) != column.cql_type:
            what = (
                f"column {column.name!r} of table {target.table!r} is of type {found}, and now {column.cql_type}"
            )
            fix = "give the column another name, or write another ?table=NAME"
            raise UsageError(what, "Cassandra cannot change the type of a column", fix)
    if missing := ", ".join(f"{c.quoted} {c.cql_type}" for c in columns if c.name not in types):
        session.execute(f"ALTER TABLE {target.rows} ADD IF NOT EXISTS ({missing})")


def _await_table(session: Session, query: str) -> None:
    """What another publisher makes is in system_schema a moment before statements can name it."""
    until = time.monotonic() + SCHEMA_LIMIT_S
    while True:
        try:
            session.prepare(query)
        except InvalidRequest:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return
