from collections.abc import Iterator

import pytest

from mlops_kit.features.online.records import now_us
from tests.features.online.stores import new_store
from tests.modes.online.features.project import Project, make_project
from tests.modes.online.server import RunningServer, serving

PATIENT = ("--timeout-ms", 20_000, "--store-timeout-ms", 10_000)
"""The machine may be busy."""


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store_uri(
    request: pytest.FixtureRequest, project: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A store that has the project's history."""
    with new_store(request.param, request, tmp_path_factory.mktemp("store")) as uri:
        project.fill(uri)
        yield uri


@pytest.fixture(scope="module")
def server(project: Project, store_uri: str) -> Iterator[RunningServer]:
    """Requests may say as of when they are asked."""
    with serving(project.bundle, "--store", store_uri, "--request-time", *PATIENT) as running:
        yield running


@pytest.fixture(scope="module")
def at_us() -> int:
    return now_us()
