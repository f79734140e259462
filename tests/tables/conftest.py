"""A table in each backend."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlops_kit.tables.interface import Table
from tests.tables.backends import BACKENDS
from tests.tables.contract import open_at


@pytest.fixture(params=BACKENDS)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def address(scheme: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with BACKENDS[scheme].place(request, tmp_path) as address:
        yield address


@pytest.fixture
def table(address: str) -> Iterator[Table]:
    with closing(open_at(address)) as table:
        yield table
