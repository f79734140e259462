"""From an address to the backend behind it, imported on use."""

from importlib import import_module

from mlops_kit.errors import MissingExtraError
from mlops_kit.tables.address import FOLDER, STDOUT, Address, parse_address
from mlops_kit.tables.interface import Table

BACKENDS = {
    FOLDER: ("mlops_kit.tables.folder", ""),
    STDOUT: ("mlops_kit.tables.standard_output", ""),
    "sqlite": ("mlops_kit.tables.sqlite", ""),
    "duckdb": ("mlops_kit.tables.duckdb", ""),
    "postgresql": ("mlops_kit.tables.postgres.table", "postgres"),
    "redis": ("mlops_kit.tables.redis.table", "redis"),
    "rediss": ("mlops_kit.tables.redis.table", "redis"),
    "cassandra": ("mlops_kit.tables.cassandra", "cassandra"),
}
"""Scheme → the module, which has `open_table(address, password) -> Table`, and the extra that it needs."""

KEY_VALUE_STORES = ("redis", "rediss", "cassandra")
"""Schemes whose tables cannot be without a key."""


def resolve_address(text: str) -> Address:
    """Read an address. Raises UsageError if no backend is behind it."""
    return parse_address(text, [scheme for scheme in BACKENDS if scheme not in (FOLDER, STDOUT)])


def open_table(address: Address, password: str = "") -> Table:
    """Open the table. A password in the address wins over `password`.

    Raises MissingExtraError, UsageError, and StoreError if the server cannot be reached.
    """
    module, extra = BACKENDS[address.scheme]
    try:
        backend = import_module(module)
    except ModuleNotFoundError as error:
        if not extra:
            raise
        raise MissingExtraError(error.name or extra, extra, f"{address.scheme}://") from error
    table: Table = backend.open_table(address, address.password or password)
    return table


def lookup(output: str, password: str = "") -> Table:
    """Stored predictions, for an application's backend: `lookup("predictions").get(["17"])` has the key 17.

    `output` is what `mlkit batch-predict --out` published to. Raises UsageError for an address that is none.
    """
    return open_table(resolve_address(output), password)
