"""Addresses of stores, and what is said about those that are none."""

import re

import pytest

from mlops_kit.errors import UsageError
from mlops_kit.stores.resolve import open_store
from tests.without_package import error_without


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("features", "write sqlite:///features.db"),
        ("features.db", "write sqlite:///features.db"),
        ("-", "write sqlite:///features.db"),
        ("mysql://h/features", r"no store.*sqlite:///features.db"),
        ("cassandra://h/features", "no store"),
        ("sqlite3:///features.db", "did you mean 'sqlite'"),
        ("sqlite://features.db", "sqlite:///FILE"),
        ("sqlite:///", "which file"),
        ("sqlite:///features.db?table=eta", "no table"),
        ("sqlite:///features.db?timeout=3", "did you mean 'timeout_s'"),
        ("sqlite:///features.db?timeout_s=soon", "write timeout_s=30"),
        ("redis://h:x/0", "no host and port"),
        ("redis://h/zero", "write redis://h/0"),
        ("redis://h/0?timeout_s=0", "write timeout_s=5"),
        ("redis://h/0?connect_timeout_s=inf", "write connect_timeout_s=3"),
        ("redis://h/0?grace_s=1", "unknown option"),
        ("redis://h/0?eviction=no", "write eviction=accepted"),
        ("redis://h/0?ca=x.pem", "write rediss://"),
        ("rediss://h/0?ca=/nowhere.pem", "nowhere"),
        ("postgresql://h/features?timeout_s=-1", "write timeout_s=5"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(address: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_store(address)


@pytest.mark.parametrize(("address", "package"), [("redis://h/0", "redis"), ("postgresql://h/f", "psycopg")])
def test_the_extra_that_is_missing_is_named(address: str, package: str) -> None:
    program = f"from mlops_kit.stores.resolve import open_store\nopen_store({address!r})"
    said = error_without([package], program)
    assert "MissingExtraError" in said
    assert re.search(r"pip install 'mlops-kit\[(redis|postgres)\]'", said)
