"""A store in each backend."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlops_kit.stores.interface import Store
from mlops_kit.stores.resolve import open_store
from tests.features.online.stores import SCHEMES, new_store
from tests.servers.postgres import PASSWORD


@pytest.fixture(params=SCHEMES)
def store_uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Without a password, which a command would refuse."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with new_store(request.param, request, tmp_path) as uri:
        yield uri


@pytest.fixture
def store(store_uri: str) -> Iterator[Store]:
    with closing(open_store(store_uri)) as store:
        yield store
