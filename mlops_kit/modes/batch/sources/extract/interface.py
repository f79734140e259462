"""What is to be read, and what an extractor must do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mlops_kit.tables.address import Address


@dataclass(frozen=True, slots=True)
class Query:
    """Rows of a database, or of stdin where there is neither `address` nor `sql`.

    `sql` is in the database's own dialect, or in DuckDB's where there is no `address`. `memory_bytes` is what
    sorts and joins may take before they spill to disk, where that can be set.
    """

    address: Address | None = None
    sql: str = ""
    password: str = field(default="", repr=False)
    memory_bytes: int = 0

    @property
    def database(self) -> Address:
        """The address, of a query that has one."""
        if self.address is None:
            raise ValueError("this query names no database")
        return self.address

    @property
    def name(self) -> str:
        """What people would call it."""
        if self.address is not None:
            return str(self.address)
        return "--sql" if self.sql else "stdin"


class Extractor(Protocol):
    """The module's suffix is that of the file which it writes."""

    SUFFIX: str
    """.parquet or .ndjson"""

    def extract(self, query: Query, target: Path, on_rows: Callable[[int], None]) -> Sequence[str]:
        """Write all rows to a file, in the order in which they come, with memory that does not grow with them.

        Returns the columns' names. `on_rows` is told how many more rows are written; what it raises ends the
        extraction. Raises UsageError for a query that cannot be carried out, StoreError for a database that fails.
        """
