"""Keys must tell the rows of a generation apart, or a look-up would give one of several."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from mlops_kit.errors import UnfitRowsError, UsageError, listed
from mlops_kit.tables.sql.columns import quoted

MEMORY = "256MB"


def check_key_columns(key: Sequence[str], schema: pa.Schema) -> None:
    """Raise UsageError for a key that cannot be written as text without loss, or is not in the parts' `schema`."""
    for name in key:
        if name not in schema.names:
            why = "its values are in the names of the folders only"
            raise UsageError(f"{name!r} cannot be the key", why, "choose another column")
        type_ = schema.field(name).type
        if pa.types.is_floating(type_) or pa.types.is_nested(type_) or pa.types.is_binary(type_):
            raise UsageError(f"the key {name!r} is {type_}", "which has no one way to be written as text",
                             "choose whole numbers, text, dates or times")  # fmt: skip


def check_keys(parts: Sequence[Path], key: Sequence[str], spill: Path) -> None:
    """Raise UnfitRowsError if two rows have the same key, or one has none. Large sets spill to a folder."""
    if not key or not parts:
        return
    columns = ", ".join(map(quoted, key))
    is_null = " OR ".join(f"{quoted(name)} IS NULL" for name in key)
    config = {"memory_limit": MEMORY, "temp_directory": str(spill), "preserve_insertion_order": "false"}
    with duckdb.connect(config=config) as connection:
        rows = connection.read_parquet([str(part) for part in parts], hive_partitioning=False)
        without = _count(rows.filter(is_null))
        shared = _count(rows.aggregate("count(*) AS n", columns).filter("n > 1"))
    named = listed(key)
    if without:
        why = f"{named} is null in {without:,} of them"
        raise UnfitRowsError("rows have no key", why, f'leave them out: --where "{key[0]} IS NOT NULL"')
    if shared:
        why = f"several rows have the same {named}: that is so for {shared:,} of its values"
        raise UnfitRowsError("the key does not tell the rows apart", why, "choose other columns with --key")


def _count(rows: duckdb.DuckDBPyRelation) -> int:
    ((count,),) = rows.aggregate("count(*)").fetchall()
    return int(count)
