"""Models that change while requests go on."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import mlflow
import polars as pl
import pytest

from mlops_kit.modes.memory import resident_memory
from tests.bundles import WEIGHTS, slow_graph, write_bundle
from tests.modes.online.asking import BODY, answer, answers, kill, link, metrics_of, state_of, until
from tests.modes.online.load import constant_load
from tests.modes.online.mixed_bundle import write_mixed_bundle
from tests.modes.online.server import ADMIN_KEY, RunningServer, serving


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny")


@pytest.fixture
def admin_keys(tmp_path: Path) -> tuple[str, Path]:
    path = tmp_path / "admin-keys"
    path.write_text(ADMIN_KEY + "\n")
    return "--admin-key-file", path


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "keys").write_text(ADMIN_KEY)
    with serving(write_bundle(folder / "tiny"), "--admin-key-file", folder / "keys") as server:
        yield server


def processor_ticks(process: int) -> int:
    """How long it has computed, in hundredths of a second."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


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


def test_a_bundle_with_another_signature_is_refused_until_it_is_forced(
    tmp_path: Path, bundle: Path, admin_keys: tuple[str, Path]
) -> None:
    other = write_mixed_bundle(tmp_path / "other")
    current = tmp_path / "current"
    current.symlink_to(bundle)
    with serving(f"eta={current}", "--workers", 2, "--watch", *admin_keys) as server, server.admin() as client:
        before = answer(server)
        link(other, current)
        until(lambda: "refused" in state_of(server, "eta"))
        assert "another signature" in state_of(server, "eta")["refused"]
        assert client.post("/v2/repository/models/eta/load").status_code == 400
        assert answer(server) == before
        client.post("/v2/repository/models/eta/load", json={"parameters": {"force": True}}).raise_for_status()
        assert "refused" not in state_of(server, "eta")
        assert answer(server) != before


@pytest.mark.parametrize(
    "body",
    [
        {"path": "other"},
        {"parameters": {"config": "{}"}},
        {"parameters": {"force": "yes"}},
        {"parameters": []},
        [],
    ],
    ids=str,
)
def test_what_a_load_does_not_take_is_refused(keyed: RunningServer, body: object) -> None:
    with keyed.admin() as client:
        assert client.post("/v2/repository/models/tiny/load", json=body).status_code == 400


def test_a_link_that_leads_nowhere_is_told_once(tmp_path: Path, bundle: Path) -> None:
    current = tmp_path / "current"
    current.symlink_to(bundle)
    with serving(f"eta={current}", "--watch") as server:
        link(tmp_path / "nothing", current)
        assert server.process.stderr is not None
        while "nothing to follow" not in server.process.stderr.readline():
            assert server.process.poll() is None
        assert "refused" not in state_of(server, "eta")
        assert "nothing to follow" not in server.stop()[1]


def test_a_refusal_does_not_tell_clients_where_bundles_lie(
    tmp_path: Path, bundle: Path, admin_keys: tuple[str, Path]
) -> None:
    current = tmp_path / "current"
    current.symlink_to(bundle)
    with serving(f"eta={current}", *admin_keys) as server, server.admin() as client:
        link(tmp_path / "nothing", current)
        assert client.post("/v2/repository/models/eta/load").status_code == 400
        (entry,) = httpx.post(f"{server.url}/v2/repository/index").json()
        assert entry["reason"] == state_of(server, "eta")["refused"]
        assert "/" not in entry["reason"]
        assert str(tmp_path / "nothing") in server.stop()[1]


def test_a_change_that_meets_no_worker_is_taken_by_the_next_one(tmp_path: Path, bundle: Path) -> None:
    other = write_bundle(tmp_path / "other", weights=WEIGHTS * 2)
    current = tmp_path / "current"
    current.symlink_to(bundle)
    with serving(f"eta={current}", "--watch") as server:
        before = answer(server)
        kill(server, server.workers[0])
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
    (root / "empty").mkdir()
    (root / "file").write_text("")
    with serving(bundle, "--model-root", root, *admin_keys) as server, server.admin() as client:
        before = answer(server)
        for path in ("../tiny", str(bundle), "escape", "nothing", "x" * 300, "empty", "file", "\0", "x" * 10_000):
            refused = client.post("/v2/repository/models/tiny/load", json={"parameters": {"path": path}})
            assert refused.status_code == 400, path
        assert answer(server) == before
        assert metrics_of(server)[("mlkit_refused_reloads_total", "tiny")] == 0
        assert "refused" not in state_of(server, "tiny")
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


def test_a_bundle_that_is_copied_slowly_is_served_when_it_is_whole(tmp_path: Path, bundle: Path) -> None:
    other = write_bundle(tmp_path / "other", weights=WEIGHTS * 2)
    copy, current = tmp_path / "copy", tmp_path / "current"
    copy.mkdir()
    for path in other.iterdir():  # the manifest is there before what it names
        (copy / path.name).write_bytes(path.read_bytes() if path.name == "manifest.json" else b"")
    current.symlink_to(bundle)
    with serving(f"eta={current}", "--watch") as server:
        before = answer(server)
        link(copy, current)
        until(lambda: "refused" in state_of(server, "eta"))
        for name in {path.name for path in other.iterdir()} - {"manifest.json"}:
            (copy / name).write_bytes((other / name).read_bytes())
        until(lambda: answer(server) != before)
        assert metrics_of(server)[("mlkit_refused_reloads_total", "eta")] == 1
        assert "refused" not in state_of(server, "eta")


def test_workers_that_meet_another_bundle_at_the_same_place_agree_on_it(tmp_path: Path, bundle: Path) -> None:
    other = write_bundle(tmp_path / "other", weights=WEIGHTS * 2)
    with serving(f"eta={bundle}", "--workers", 2) as server:
        (before,) = answers(server)
        bundle.rename(tmp_path / "old")
        other.rename(bundle)
        kill(server, server.workers[0])
        until(lambda: metrics_of(server)[("mlkit_reloads_total", "eta")] == 1)
        until(lambda: before not in answers(server))
        assert len(answers(server)) == 1


def test_a_worker_in_the_place_of_another_brings_no_other_signature(tmp_path: Path, bundle: Path) -> None:
    other = write_mixed_bundle(tmp_path / "other")
    with serving(f"eta={bundle}", "--workers", 2) as server:
        (before,) = answers(server)
        bundle.rename(tmp_path / "old")
        other.rename(bundle)
        kill(server, server.workers[0])
        until(lambda: metrics_of(server)[("mlkit_refused_reloads_total", "eta")] > 0)
        until(lambda: "another signature" in state_of(server, "eta").get("refused", ""))
        until(lambda: answers(server) == {before})


def test_a_worker_in_the_place_of_another_knows_of_a_refusal(tmp_path: Path, bundle: Path) -> None:
    current = tmp_path / "current"
    current.symlink_to(bundle)
    with serving(f"eta={current}", "--watch") as server:
        bad = write_bundle(tmp_path / "bad", weights=WEIGHTS * 2)
        (bad / "model.onnx").write_bytes(b"nothing")
        link(bad, current)
        until(lambda: "refused" in state_of(server, "eta"))
        refused = state_of(server, "eta")
        kill(server, server.workers[0])
        until(lambda: state_of(server, "eta") == refused)


def test_the_same_bundle_again_is_no_reload(bundle: Path, admin_keys: tuple[str, Path]) -> None:
    with serving(f"eta={bundle}", *admin_keys) as server, server.admin() as client:
        assert client.post("/v2/repository/models/eta/load").json()["digest"] == state_of(server, "eta")["digest"]
        assert metrics_of(server)[("mlkit_reloads_total", "eta")] == 0


def test_a_model_goes_on_and_is_described_when_its_folder_is_gone(bundle: Path) -> None:
    with serving(bundle) as server:
        shutil.rmtree(bundle)
        for path in ("/models", "/openapi.json"):
            assert httpx.get(server.url + path).status_code == 200
        assert "predictions" in str(answer(server))


def test_a_stop_in_the_middle_of_a_load_does_not_wait_for_it(
    tmp_path: Path, bundle: Path, admin_keys: tuple[str, Path]
) -> None:
    write_bundle(tmp_path / "slow", slow_graph())
    folder = tmp_path / "log"
    words = ("--model-root", tmp_path, "--log-predictions", folder, *admin_keys)
    with serving(bundle, *words) as server, ThreadPoolExecutor(1) as pool, server.admin() as client:
        answer(server)
        (worker,) = server.workers
        idle = processor_ticks(worker)
        asked = pool.submit(client.post, "/v2/repository/models/tiny/load", json={"parameters": {"path": "slow"}})
        until(lambda: processor_ticks(worker) > idle + 50)  # it asks the golden rows
        code, said = server.stop()
        assert (code, "is killed" in said, "is refused" in said) == (0, False, False)
        assert asked.result().status_code == 503
    assert pl.scan_parquet(folder / "*/*/*.parquet").collect().height == 1
