"""Models with features that are replaced, or share a store, and who may send events."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import trustme

from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.features.online.materializing import MaterializeJob, materialize_features
from mlops_kit.features.online.records import now_us
from mlops_kit.stores.resolve import open_store
from tests.modes.online.asking import link, metrics_of, until
from tests.modes.online.features.conftest import PATIENT
from tests.modes.online.features.project import Project, make_project, row
from tests.modes.online.server import ADMIN_KEY, RunningServer, serving

KEY = {"authorization": "Bearer a-key-of-sixteen-letters"}


@pytest.fixture(scope="module")
def shorter(project: Project) -> Project:
    """Of the same history, but with windows of a minute where the other's are of an hour."""
    return make_project(project.folder, "shorter", window="1m", start_us=project.start_us)


@pytest.fixture
def uri(tmp_path: Path, project: Project) -> str:
    found = f"sqlite:///{tmp_path}/features.db"
    project.fill(found)
    return found


def ask(server: RunningServer, at_us: int, path: str = "/invocations", **more: Any) -> httpx.Response:
    body = {"inputs": row(), "params": {"as_of": at_us}}
    return httpx.post(f"{server.url}{path}", json=body, timeout=30, **more)


def predicted(answer: httpx.Response) -> list[float]:
    assert answer.status_code == 200, answer.text
    return [one["prediction"] for one in answer.json()["predictions"]]


@pytest.mark.parametrize("is_watched", [True, False])
def test_other_features_are_served_at_once_and_have_values_once_the_store_does(
    is_watched: bool, project: Project, shorter: Project, uri: str, tmp_path: Path
) -> None:
    (tmp_path / "admin").write_text(ADMIN_KEY)
    current = tmp_path / "current"
    current.symlink_to(project.bundle)
    words = ["--workers", 2, "--request-time", "--admin-key-file", tmp_path / "admin", *PATIENT]
    with serving(f"eta={current}", "--store", uri, *words, *(["--watch"] if is_watched else [])) as server:
        at_us, rows = now_us(), pl.DataFrame([row()])
        assert predicted(ask(server, at_us)) == project.expected(rows, at_us)
        link(shorter.bundle, current)
        if is_watched:
            until(lambda: metrics_of(server)["mlkit_reloads_total", "eta"] == 1)
        else:
            with server.admin() as admin:
                loaded = admin.post("/v2/repository/models/eta/load")
            assert loaded.status_code == 200, loaded.text
        before = metrics_of(server).get(("mlkit_missing_keys_total", "eta", "departures"), 0)
        ask(server, at_us)
        assert metrics_of(server)["mlkit_missing_keys_total", "eta", "departures"] == before + 1
        shorter.fill(uri)
        until(lambda: predicted(ask(server, at_us)) == shorter.expected(rows, at_us))
        _, said = server.stop()
    assert said.count("the store has nothing of departures") == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[object, ...]]:
    folder = tmp_path_factory.mktemp("certificates")
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    return "--tls-cert", folder / "certificate.pem", "--tls-key", folder / "key.pem"


def test_models_on_one_store_take_the_same_events_behind_tls_and_keys(
    project: Project, shorter: Project, tmp_path: Path, certificate: tuple[object, ...]
) -> None:
    """Both windows of departures, which have a state each, are filled by one request."""
    (tmp_path / "keys").write_text(KEY["authorization"].removeprefix("Bearer "))
    (tmp_path / "keys").chmod(0o600)
    uri = f"sqlite:///{tmp_path}/features.db"
    for one in (project, shorter):
        fill_without_departures(one, uri)
    events = project.events(0, 2000)
    at_us, rows = int(events["at"].max()) + 1, pl.DataFrame([row()])  # type: ignore[arg-type]
    words = ("--store", uri, "--workers", 2, "--request-time", "--api-key-file", tmp_path / "keys", *PATIENT)
    with serving(f"one={project.bundle}", f"two={shorter.bundle}", *words, *certificate) as server:
        url, body = f"{server.url}/v2/events/departures", events.write_ndjson().encode()
        assert httpx.post(url, content=body, verify=False).status_code == 401
        posted = httpx.post(url, content=body, headers=KEY, verify=False, timeout=60)
        assert (posted.status_code, posted.json()["applied"]) == (200, 2000)
        assert ask(server, at_us, "/models/one/invocations", verify=False).status_code == 401
        for name, one in {"one": project, "two": shorter}.items():
            answer = ask(server, at_us, f"/models/{name}/invocations", headers=KEY, verify=False)
            assert predicted(answer) == one.expected(rows, at_us)


def fill_without_departures(project: Project, uri: str) -> None:
    definition = project.definition
    kept = [source for source in definition.events if source.name != "departures"]
    windows = tuple(window for window in definition.windows if window.source != "departures")
    rest = FeatureSet(tuple(kept), definition.tables, windows, definition.lookups)
    with closing(open_store(uri)) as store:
        materialize_features(MaterializeJob(rest, now_us(), is_end=False), store, lambda _rows: None)
