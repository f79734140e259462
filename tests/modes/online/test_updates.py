"""Models that change while requests go on."""

import os
import signal
from pathlib import Path

import httpx
import mlflow
import pytest

from mlops_kit.modes.memory import resident_memory
from tests.bundles import WEIGHTS, write_bundle
from tests.modes.online.asking import BODY, answer, link, metrics_of, until
from tests.modes.online.load import constant_load
from tests.modes.online.server import ADMIN_KEY, serving


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny")


@pytest.fixture
def admin_keys(tmp_path: Path) -> tuple[str, Path]:
    path = tmp_path / "admin-keys"
    path.write_text(ADMIN_KEY + "\n")
    return "--admin-key-file", path


def test_a_watched_link_is_followed_without_a_failed_request(tmp_path: Path, bundle: Path) -> None:
    other = write_bundle(tmp_path / "other", weights=WEIGHTS * 2)
    current = tmp_path / "current"
    current.symlink_to(bundle)
    with serving(f"eta={current}", "--workers", 2, "--watch") as server:
        before = answer(server)
        with constant_load(f"{server.url}/invocations", BODY) as outcomes:
            link(other, current)
            until(lambda: len(outcomes.answers) == 2)
        assert not outcomes.failed, outcomes.counts
        assert answer(server) != before


def test_a_registry_alias_is_followed(tmp_path: Path, bundle: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    client.create_registered_model("eta")
    for number, weights in enumerate((WEIGHTS, WEIGHTS * 2), start=1):
        version = write_bundle(tmp_path / f"v{number}", weights=weights)
        client.create_model_version("eta", str(version))
    client.set_registered_model_alias("eta", "champion", "1")
    with serving("eta=models:/eta@champion", "--watch", MLFLOW_TRACKING_URI=uri) as server:
        before = answer(server)
        client.set_registered_model_alias("eta", "champion", "2")
        until(lambda: metrics_of(server)[("mlkit_reloads_total", "eta")] == 1)
        assert answer(server) != before


def test_a_bad_bundle_is_refused_and_the_old_one_goes_on_visibly(tmp_path: Path, bundle: Path) -> None:
    bad = write_bundle(tmp_path / "bad", weights=WEIGHTS * 2)
    (bad / "model.onnx").write_bytes(b"nothing")
    current = tmp_path / "current"
    current.symlink_to(bundle)
    with serving(f"eta={current}", "--workers", 2, "--watch") as server:
        before = answer(server)
        link(bad, current)
        until(lambda: metrics_of(server)[("mlkit_refused_reloads_total", "eta")] == 1)
        metadata = httpx.get(f"{server.url}/v2/models/eta").json()
        assert "model.onnx" in metadata["parameters"]["refused"]
        assert answer(server) == before
        link(bundle, current)
        until(lambda: "refused" not in httpx.get(f"{server.url}/v2/models/eta").json()["parameters"])
        assert "is refused, the old one goes on" in server.stop()[1]


def test_a_change_that_meets_no_worker_is_taken_by_the_next_one(tmp_path: Path, bundle: Path) -> None:
    other = write_bundle(tmp_path / "other", weights=WEIGHTS * 2)
    current = tmp_path / "current"
    current.symlink_to(bundle)
    with serving(f"eta={current}", "--watch") as server:
        before = answer(server)
        os.kill(server.workers[0], signal.SIGKILL)
        link(other, current)
        until(lambda: answer(server) != before)
        assert server.stop()[0] == 0


def test_two_hundred_reloads_under_load_fail_no_request_and_keep_no_memory(
    tmp_path: Path, bundle: Path, admin_keys: tuple[str, Path]
) -> None:
    other = write_bundle(tmp_path / "other", weights=WEIGHTS * 2)
    current = tmp_path / "current"
    current.symlink_to(bundle)
    with serving(f"eta={current}", *admin_keys) as server:
        (worker,) = server.workers
        sizes = []
        with constant_load(f"{server.url}/invocations", BODY, clients=2) as outcomes, server.admin() as client:
            for index in range(200):
                link((other, bundle)[index % 2], current)
                assert client.post("/v2/repository/models/eta/load").status_code == 200
                if index >= 50:
                    sizes.append(resident_memory(str(worker)))
        assert not outcomes.failed, outcomes.counts
        assert len(outcomes.answers) == 2
        assert metrics_of(server)[("mlkit_reloads_total", "eta")] == 200
        early, late = sorted(sizes[:50])[25], sorted(sizes[-50:])[25]
        assert late < early * 1.1


def test_a_client_loads_only_what_is_below_the_model_root(
    tmp_path: Path, bundle: Path, admin_keys: tuple[str, Path]
) -> None:
    root = tmp_path / "root"
    write_bundle(root / "other", weights=WEIGHTS * 2)
    (root / "escape").symlink_to(bundle)
    with serving(bundle, "--model-root", root, *admin_keys) as server, server.admin() as client:
        before = answer(server)
        for path in ("../tiny", str(bundle), "escape", "nothing", "\0", "x" * 10_000):
            refused = client.post("/v2/repository/models/tiny/load", json={"parameters": {"path": path}})
            assert refused.status_code == 400, path
        assert answer(server) == before
        client.post("/v2/repository/models/tiny/load", json={"parameters": {"path": "other"}}).raise_for_status()
        assert answer(server) != before


def test_nobody_loads_a_model_without_an_admin_key(bundle: Path, admin_keys: tuple[str, Path]) -> None:
    for words, status in (((), 403), (admin_keys, 401)):
        with serving(bundle, *words) as server:
            assert httpx.post(f"{server.url}/v2/repository/models/tiny/load").status_code == status


def test_without_a_model_root_no_path_is_taken(bundle: Path, admin_keys: tuple[str, Path]) -> None:
    with serving(bundle, *admin_keys) as server, server.admin() as client:
        refused = client.post("/v2/repository/models/tiny/load", json={"parameters": {"path": str(bundle)}})
        assert refused.status_code == 400
        assert "--model-root" in refused.json()["error"]


def test_the_index_names_every_model_with_its_state(bundle: Path) -> None:
    with serving(bundle) as server:
        (entry,) = httpx.post(f"{server.url}/v2/repository/index").json()
        assert (entry["name"], entry["state"], entry["reason"]) == ("tiny", "READY", "")
