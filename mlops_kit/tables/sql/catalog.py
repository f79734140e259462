"""What a database knows of its generations. Each lies in a table of its own; under the name that people read there
is a view on the current one. `mlkit_generations` says which that is, and which came before.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from mlops_kit.errors import UsageError, listed
from mlops_kit.tables.generation import Generation
from mlops_kit.tables.interface import Published, StoredPrediction
from mlops_kit.tables.sql.columns import quoted

REGISTRY = "mlkit_generations"
COLUMNS = """table_name TEXT NOT NULL, generation TEXT NOT NULL, digest TEXT NOT NULL, predicted_at TEXT NOT NULL,
row_count BIGINT NOT NULL, key_columns TEXT NOT NULL, arrow_schema TEXT NOT NULL, position BIGINT"""


class Session(Protocol):
    """A connection to a database, within a transaction."""

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement with its parameters $1, $2 …"""

    def kind_of(self, name: str) -> str | None:
        """'table', 'view' or what else is there under this name; None if nothing is."""

    def qualified(self, name: str) -> str:
        """A table's name, quoted."""

    def point_view(self, view: str, relation: str) -> None:
        """Make the view, or change it, so that it shows all of the other table."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A generation that can be read, with the columns that it had in Parquet."""

    published: Published
    key: tuple[str, ...]
    schema: pa.Schema

    def prediction(self, values: Mapping[str, Any]) -> StoredPrediction:
        """A row of it."""
        return StoredPrediction(values, self.published.digest, self.published.predicted_at)


class Catalog:
    """The generations of one table. A row of the registry without a position names a generation that is not, or no
    longer, to be read: if nobody is at work on it, its table can be dropped.
    """

    def __init__(self, session: Session, table: str) -> None:
        self._session = session
        self._table = table
        self._registry = session.qualified(REGISTRY)

    def create(self) -> None:
        """Make the registry if there is none."""
        if self._session.kind_of(REGISTRY) is None:
            self._session.query(f"CREATE TABLE {self._registry} ({COLUMNS})")

    def relation(self, name: str) -> str:
        """The name of the table in which a generation lies."""
        return f"{self._table}__{name}"

    def published(self) -> list[Entry]:
        """Those that can be read, the current one first."""
        return [
            Entry(Published(name, digest, predicted_at, rows), tuple(json.loads(key)), _read_schema(schema))
            for name, digest, predicted_at, rows, key, schema in self._select(
                "generation, digest, predicted_at, row_count, key_columns, arrow_schema", "position IS NOT NULL"
            )
        ]

    def current(self) -> Entry | None:
        """The first of them, if its table is there."""
        entries = self.published()
        is_there = entries and self._session.kind_of(self.relation(entries[0].published.name))
        return entries[0] if is_there else None

    def unpublished(self) -> list[str]:
        """The names of the others."""
        return [name for (name,) in self._select("generation", "position IS NULL")]

    def record(self, generation: Generation) -> None:
        """Note that there is going to be a generation."""
        self.forget(generation.name)
        values = (
            self._table, generation.name, generation.digest, generation.predicted_at, generation.rows,
            json.dumps(generation.key), _write_schema(generation.schema),
        )  # fmt: skip
        self._session.query(f"INSERT INTO {self._registry} VALUES ($1, $2, $3, $4, $5, $6, $7, NULL)", values)

    def switch(self, name: str, keep: int) -> None:
        """Make a recorded generation, whose rows are all there, the current one."""
        entries = [entry.published.name for entry in self.published() if entry.published.name != name]
        for old in entries[keep - 1 :]:
            self._place(old, None)
        newest = self._select("max(position)", "position IS NOT NULL", order="")[0][0] or 0
        self._place(name, newest + 1)
        self._session.point_view(self._table, self.relation(name))

    def roll_back(self) -> Published:
        """Make the one before the current one. Raises UsageError if there is none."""
        entries = self.published()
        if not entries:
            raise nothing_published(self._table)
        if len(entries) < 2:
            fix = "keep more of them next time with --keep-generations"
            raise UsageError(f"table {self._table!r}: no generation before the current one is left", fix=fix)
        self._place(entries[0].published.name, None)
        self._session.point_view(self._table, self.relation(entries[1].published.name))
        return entries[1].published

    def forget(self, name: str) -> None:
        """Remove what the registry says of a generation."""
        condition = "table_name = $1 AND generation = $2"
        self._session.query(f"DELETE FROM {self._registry} WHERE {condition}", (self._table, name))

    def refuse_foreign(self) -> None:
        """Raise UsageError if something else has the table's name."""
        kind = self._session.kind_of(self._table)
        if kind is not None and not (kind == "view" and self.published()):
            what = f"there is a {kind} {self._table!r} already that mlkit did not make"
            raise UsageError(what, "it would have to be replaced", "choose another table, or rename that one")

    def _place(self, name: str, position: int | None) -> None:
        self._session.query(
            f"UPDATE {self._registry} SET position = {'NULL' if position is None else position} "
            "WHERE table_name = $1 AND generation = $2",
            (self._table, name),
        )

    def _select(
        self, columns: str, condition: str, order: str = "ORDER BY position DESC"
    ) -> list[tuple[Any, ...]]:
        if self._session.kind_of(REGISTRY) is None:
            return []
        sql = f"SELECT {columns} FROM {self._registry} WHERE table_name = $1 AND {condition} {order}"
        return self._session.query(sql, (self._table,))


def checked_entry(entries: Sequence[Entry], table: str, key: Sequence[str]) -> Entry:
    """The current entry, if a key of so many values can be looked up in it. Raises UsageError if not."""
    if not entries:
        raise nothing_published(table)
    names = entries[0].key
    if not names:
        raise UsageError(f"table {table!r} has no key to look up by", fix="run again with --key COLUMNS")
    if len(names) != len(key):
        why = f"{len(key)} given"
        raise UsageError(f"table {table!r}: its key is {listed(names)}", why, "give one value for each")
    return entries[0]


def row_query(relation: str, key: Sequence[str]) -> str:
    """The statement that finds a row by its key, whose values are the parameters."""
    condition = " AND ".join(f"{quoted(name)} = ${number}" for number, name in enumerate(key, 1))
    return f"SELECT * FROM {relation} WHERE {condition}"


def nothing_published(table: str) -> UsageError:
    """What to raise where a generation is needed and there is none."""
    return UsageError(f"table {table!r}: nothing was ever published there", fix="mlkit batch-predict publishes")


def foreign_registry() -> UsageError:
    """What to raise where the registry has other columns than mlkit gave it."""
    why = "mlkit keeps in a table of this name what it has published"
    return UsageError(f"there is a table {REGISTRY!r} that mlkit did not make", why, "choose another database")


def check_table_name(
    table: str, database: str, reserved: tuple[str, ...] = ("mlkit_",), most_bytes: int = 1000, excluded: str = ""
) -> None:
    """Raise UsageError for a name that the database cannot take, that begins as `reserved` ones do, or that has an
    `excluded` character.
    """
    if any(character in table for character in excluded):
        fix = f"write the name alone: {table.rpartition('.')[2]}"
        raise UsageError(f"{database}: {table!r} is no table name, schemas cannot be chosen", fix=fix)
    if table.lower().startswith(reserved) or not table.isprintable() or len(table.encode()) > most_bytes:
        beginnings = " or ".join(map(repr, reserved))
        fix = f"choose 1 to {most_bytes} bytes of printable text that do not begin with {beginnings}"
        raise UsageError(f"{database} takes no table name {table!r}", fix=fix)


def _write_schema(schema: pa.Schema) -> str:
    return base64.b64encode(schema.remove_metadata().serialize()).decode()


def _read_schema(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
