"""MLflow's own loader, server and registry take a bundle as it is."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest

import mlops_kit
from mlops_kit.bundle import mlflow_registry
from mlops_kit.errors import SourceError, UsageError
from tests.bundles import NAMES, WEIGHTS, write_bundle
from tests.ports import free_port

ROWS = pd.DataFrame(np.ones((3, len(NAMES))), columns=list(NAMES))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield
    mlflow.set_tracking_uri(before)


def test_pyfunc_loads_and_predicts(bundle: Path) -> None:
    answers = mlflow.pyfunc.load_model(str(bundle)).predict(ROWS)
    assert answers["prediction"].tolist() == [WEIGHTS.sum()] * 3


def test_mlflow_serves_it(bundle: Path) -> None:
    port = free_port()
    words = ["models", "serve", "-m", str(bundle), "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words, "--workers", "1"],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        body = {"dataframe_records": [dict.fromkeys(NAMES, 1.0)]}
        answer = _post_when_up(f"http://127.0.0.1:{port}", body, server)
        assert answer == {"predictions": [{"prediction": float(WEIGHTS.sum())}]}
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _post_when_up(url: str, body: object, server: "subprocess.Popen[bytes]", limit_s: float = 90) -> object:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(f"{url}/ping").raise_for_status()
            return httpx.post(f"{url}/invocations", json=body, timeout=30).json()
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail("the MLflow server did not come up")


@pytest.mark.usefixtures("registry")
def test_a_registered_bundle_comes_back_by_version_and_by_alias(bundle: Path) -> None:
    digest = mlops_kit.load(bundle).bundle.digest  # type: ignore[union-attr]
    assert mlflow_registry.register(bundle, "models:/eta", {"mlkit.digest": digest}) == "1"
    assert mlflow_registry.register(bundle, "models:/eta", {}) == "2"
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("eta", "champion", "1")
    version = client.get_model_version("eta", "1")
    assert version.tags["mlkit.digest"] == digest
    for reference in ("models:/eta/1", "models:/eta/2", "models:/eta@champion", f"runs:/{version.run_id}/bundle"):
        loaded = mlops_kit.load(reference)
        assert loaded.bundle is not None
        assert loaded.bundle.digest == digest
    assert mlflow.pyfunc.load_model("models:/eta@champion").predict(ROWS).shape == (3, 1)


REFUSED = [
    ("models:/nobody/1", "cannot be fetched"),
    ("models:/nobody@champion", "cannot be fetched"),
    ("runs:/0123456789/bundle", "cannot be fetched"),
]


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(("reference", "message"), REFUSED)
def test_what_the_registry_does_not_have_is_refused(reference: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        mlops_kit.load(reference)


@pytest.mark.parametrize("uri", ["eta", "models:/eta/1", "models:/eta@champion", "runs:/1/x"])
def test_one_registers_by_name_only(bundle: Path, uri: str) -> None:
    with pytest.raises(UsageError, match="not a place to register at"):
        mlflow_registry.register(bundle, uri, {})


def test_the_files_of_a_models_flavours_are_found(tmp_path: Path) -> None:
    flavors = {"python_function": {"model_path": "model.pkl"}, "sklearn": {"pickled_model": "model.pkl"}}
    (tmp_path / "MLmodel").write_text(json.dumps({"flavors": flavors}))
    assert mlflow_registry.model_files(tmp_path) == ["model.pkl"]


@pytest.mark.parametrize("text", ["", "flavors: [", "- 1"])
def test_a_damaged_mlmodel_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(SourceError, match="MLmodel"):
        mlflow_registry.model_files(tmp_path)
