"""What is followed: where it is, what it is called, and when it is another."""

import os
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from mlops_kit.bundle import mlflow_registry
from mlops_kit.bundle.archive import write_archive
from mlops_kit.bundle.bundle import open_bundle
from mlops_kit.errors import UsageError
from mlops_kit.modes.online.processes.naming import follow_all
from mlops_kit.modes.online.processes.references import make_reference
from mlops_kit.modes.online.processes.settling import MOST_LOOKS, Settling
from tests.bundles import edit_manifest, write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny")


def rewrite(path: Path) -> None:
    """The same size at the same time, as copying with times does it."""
    found = path.stat()
    path.write_bytes(bytes(found.st_size))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


CHANGES: dict[str, tuple[Callable[[Path], object], bool]] = {
    "nothing": (lambda folder: None, False),
    "something else": (lambda folder: (folder / "notes.txt").write_text("new"), False),
    "a file that grows": (lambda folder: (folder / "weights.safetensors").open("ab").write(b"more"), True),
    "a file that is copied with its time": (lambda folder: rewrite(folder / "weights.safetensors"), True),
    "a file that is gone": (lambda folder: (folder / "model.onnx").unlink(), True),
    "another manifest": (lambda folder: edit_manifest(folder, name="other"), True),
    "half a manifest": (lambda folder: (folder / "manifest.json").write_bytes(b"{"), True),
}


@pytest.mark.parametrize(("change", "is_seen"), CHANGES.values(), ids=CHANGES)
def test_every_change_of_a_bundle_is_seen(bundle: Path, change: Callable[[Path], object], is_seen: bool) -> None:
    reference = make_reference(str(bundle))
    before = reference.identify()
    change(bundle)
    assert (reference.identify() != before) is is_seen


def test_what_is_refused_is_not_tried_again_until_it_changes_and_rests() -> None:
    settling = Settling("old")
    assert [settling.is_due("bad") for _ in range(3)] == [False, True, True]
    settling.settle("bad", is_taken=False)
    assert not any(settling.is_due("bad") for _ in range(100))
    assert [settling.is_due(seen) for seen in ("half", "half", "good", "good", "good")] == [False] * 4 + [True]


def test_what_is_refused_often_is_tried_less_and_less_often_but_is_tried() -> None:
    settling = Settling("old")
    for number in range(20):
        settling.settle(f"bad {number}", is_taken=False)
    looks = [settling.is_due("good") for _ in range(MOST_LOOKS + 1)]
    assert looks == [False] * MOST_LOOKS + [True]


@pytest.mark.parametrize("name", ["tiny", "with space", '<i>"&'])
def test_a_name_goes_before_its_bundle(bundle: Path, name: str) -> None:
    ((found, model),) = follow_all([f"{name}={bundle}"]).items()
    assert (found, model.path) == (name, str(bundle))


@pytest.mark.parametrize("word", ["run=1", "./run=1", "a/run=1"])
def test_a_path_may_have_an_equals_sign(
    bundle: Path, tmp_path: Path, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(word).parent.mkdir(exist_ok=True)
    bundle.rename(word)
    assert list(follow_all([word])) == ["tiny"]


REFUSED = {
    "two without names": (["{0}", "{0}"], "which name"),
    "one without a name": (["one={0}", "{0}"], "which name"),
    "twice the same": (["one={0}", "one={0}"], "two models are called 'one'"),
    "the server's own": (["stats={0}"], "no model can be called 'stats'.*NAME=BUNDLE"),
    "no bundle": (["one={0}/nothing"], "no such bundle"),
    "a name alone": (["one={0}", "two="], "'two=' names no bundle"),
    "no bundle, with a name that is none": (["a/b={0}"], "no such bundle"),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_told_apart_or_not_there_is_refused(bundle: Path, words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        follow_all(word.format(bundle) for word in words)


def test_a_bundle_that_is_called_as_a_path_of_the_server_needs_another_name(bundle: Path) -> None:
    edit_manifest(bundle, name="stats")
    with pytest.raises(UsageError, match="no model can be called 'stats'"):
        follow_all([str(bundle)])
    assert list(follow_all([f"eta={bundle}"])) == ["eta"]


def test_a_registered_model_keeps_its_name_and_is_fetched_once(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = mlflow.MlflowClient(uri)
    client.create_registered_model("eta")
    client.create_model_version("eta", str(bundle))
    fetched: list[str] = []
    download = mlflow_registry.download
    monkeypatch.setattr(mlflow_registry, "download", lambda text: fetched.append(text) or download(text))
    found = follow_all(["models:/eta/1"])
    assert (list(found), fetched) == (["eta"], ["models:/eta/1"])
    assert open_bundle(Path(found["eta"].path)).manifest.name == "tiny"


def test_an_archive_is_unpacked_for_as_long_as_it_is_followed(bundle: Path, tmp_path: Path) -> None:
    archive = tmp_path / "tiny.mlkit"
    write_archive(bundle, open_bundle(bundle).manifest, archive)
    found = follow_all([str(archive)])
    folder = Path(found["tiny"].path)
    assert open_bundle(folder).manifest.name == "tiny"
    del found
    assert not folder.exists()
