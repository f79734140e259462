"""From an address to the store behind it, imported on use."""

from importlib import import_module
from types import ModuleType

from mlops_kit.errors import MissingExtraError, UsageError, listed, suggestion
from mlops_kit.stores.interface import Reads, Store
from mlops_kit.stores.thread_reads import ThreadReads
from mlops_kit.tables.address import Address, parse_address

BACKENDS = {
    "sqlite": ("mlops_kit.stores.sqlite.store", ""),
    "redis": ("mlops_kit.stores.redis.store", "redis"),
    "rediss": ("mlops_kit.stores.redis.store", "redis"),
    "postgresql": ("mlops_kit.stores.postgres.store", "postgres"),
}
"""Scheme → the module, which has `open_store(address, password) -> Store`, and the extra that it needs."""

READS = {
    "redis": ("mlops_kit.stores.redis.reads", "redis"),
    "rediss": ("mlops_kit.stores.redis.reads", "redis"),
}
"""Scheme → the module, which has `open_reads(address, password) -> Reads`, and the extra that it needs."""

EXAMPLE = "sqlite:///features.db"


def open_store(uri: str, password: str = "") -> Store:
    """Open the store. A password in the address wins over `password`; a file is made by the first write.

    Raises MissingExtraError, UsageError, and StoreError if the server cannot be reached.
    """
    address = check_store(uri)
    backend = _import(address, *BACKENDS[address.scheme])
    store: Store = backend.open_store(address, address.password or password)
    return store


def open_reads(store: Store, uri: str, password: str = "") -> Reads:
    """Reads of an open store on an event loop: without a thread for each where its client can do that.

    Raises what `open_store` does.
    """
    address = check_store(uri)
    if address.scheme not in READS:
        return ThreadReads(store)
    reads: Reads = _import(address, *READS[address.scheme]).open_reads(address, address.password or password)
    return reads


def _import(address: Address, module: str, extra: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if not extra:
            raise
        raise MissingExtraError(error.name or extra, extra, f"{address.scheme}://") from error


def check_store(uri: str) -> Address:
    """The address of a store, which need not be there. Raises UsageError."""
    scheme, is_uri, _ = uri.partition("://")
    if not is_uri:
        raise UsageError(f"{uri!r} is no address of a store", "a store is no folder", f"write {EXAMPLE}")
    if scheme not in BACKENDS:
        known = [f"{name}://" for name in BACKENDS]
        fix = suggestion([scheme], list(BACKENDS)) or f"write one of {listed(known)}, such as {EXAMPLE}"
        raise UsageError(f"{scheme}://: no store is behind such an address", fix=fix)
    address = parse_address(uri, list(BACKENDS), needs_table=False)
    if address.table:
        raise UsageError(f"{address}: a store has no table", fix="leave out ?table=")
    return address
