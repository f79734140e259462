"""What the server says of events that it takes, and that it keeps to it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from tests.modes.online.features.conftest import PATIENT
from tests.modes.online.features.project import Project
from tests.modes.online.server import RunningServer, serving
from tests.modes.online.test_openapi import CHECKS, CONFIGURATION

PATH = "/v2/events/departures"


@pytest.fixture(scope="module")
def server(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/features.db"
    project.fill(uri)
    with serving(project.bundle, "--store", uri, "--request-time", *PATIENT) as running:
        yield running


def describe(server: RunningServer) -> dict[str, Any]:
    document: dict[str, Any] = httpx.get(f"{server.url}/openapi.json").json()
    return document


def test_every_source_of_events_is_described(server: RunningServer, project: Project) -> None:
    document = describe(server)
    validate(document)
    paths = [path for path in document["paths"] if path.startswith("/v2/events/")]
    assert paths == [f"/v2/events/{source.name}" for source in project.definition.events]
    operation = document["paths"][PATH]["post"]
    assert [*operation["responses"]] == ["200", "400", "404", "408", "413", "415", "429", "503"]
    event = document["components"]["schemas"]["Event.0"]
    assert event["required"] == ["origin", "at", "number"]
    assert event["properties"]["delay"] == {"type": ["number", "null"], "format": "double"}


def test_the_examples_of_events_are_events(server: RunningServer) -> None:
    for path, methods in describe(server)["paths"].items():
        if path.startswith("/v2/events/"):
            bodies = methods["post"]["requestBody"]["content"]["application/json"]["examples"]
            for example in bodies.values():
                answer = httpx.post(server.url + path, json=example["value"], timeout=60)
                assert (answer.status_code, answer.json()["refused"]) == (200, [])


def test_events_and_predictions_are_answered_as_described(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
        *("--include-path-regex", "^/(v2/events/departures|invocations)$"),
        *("--checks", "".join(CHECKS.split()), "--max-examples", "10", "--phases", "examples,coverage,fuzzing"),
        *("--seed", "1", "--generation-database", "none", "--warnings", "off", "--no-color"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
