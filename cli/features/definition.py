"""What the commands of features have in common: the definition, the store, and times as people write them."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import typer

from mlops_kit.errors import MissingExtraError, UsageError

from ..options import environment_password, option

if TYPE_CHECKING:
    from mlops_kit.features.definition.feature_set import FeatureSet
    from mlops_kit.stores.interface import Store

DEFINITION = typer.Argument(
    metavar="FEATURES", help="A bundle with features, or the Python file that defines them."
)
STORE = option(help="Where values are: sqlite:///FILE, redis://HOST/0 or postgresql://HOST/DATABASE.")


def need_kernel(command: str) -> None:
    """Raise MissingExtraError if what compiles the kernel is not installed."""
    if find_spec("numba") is None:
        raise MissingExtraError("numba", "features", f"mlkit features {command}")


def read_features(reference: str) -> "FeatureSet":
    """The definition of a bundle, or of a Python file, which is executed. Raises UsageError if there is none."""
    if reference.endswith(".py"):
        from mlops_kit.features.definition.loading import load_definition

        return load_definition(reference)
    from mlops_kit.bundle.locate import load_bundle

    found = load_bundle(reference).features
    if found is None:
        raise UsageError(f"{reference}: the bundle has no features", fix="mlkit export --features features.py")
    return found


@contextmanager
def opened_store(uri: str) -> "Iterator[Store]":
    """The store at an address, closed in the end."""
    from mlops_kit.stores.resolve import open_store

    store = open_store(uri, environment_password())
    try:
        yield store
    finally:
        store.close()


def parse_time(text: str) -> int:
    """Microseconds since 1970 in UTC; now for "". Raises UsageError for what is no time."""
    import polars as pl

    from mlops_kit.features.online.records import now_us
    from mlops_kit.features.values import times_us

    if not text:
        return now_us()
    found = times_us(pl.Series([int(text)] if text.isdigit() else [text]))[0]
    if found is None:
        raise UsageError(f"{text!r} is no time", fix="write it as 2026-05-01T12:00:00Z")
    return int(found)


def show_time(at_us: int) -> str:
    """ISO 8601."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat().replace("+00:00", "Z")
