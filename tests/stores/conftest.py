"""A store in each backend."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlops_kit.stores.interface import Store
from mlops_kit.stores.resolve import open_store
from tests.stores.backends import BACKENDS


@pytest.fixture(params=BACKENDS)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def address(scheme: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with BACKENDS[scheme].place(request, tmp_path) as address:
        yield address


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    with closing(open_store(address)) as store:
        yield store
