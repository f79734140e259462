"""What people install: the wheel, in a clean environment, outside of the repository."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import grpc
import pytest

from tests.bundles import NAMES, write_bundle
from tests.modes.online.server import serving

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv") or str(Path(sys.executable).parent / "uv")


def run(*words: object, cwd: Path, stdin: str = "") -> str:
    done = subprocess.run(
        [str(w) for w in words], cwd=cwd, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def interpreters() -> list[str]:
    """Every Python that mlkit claims and this machine has, on the path or under pyenv, one for each minor version."""
    wanted = [f"3.{minor}" for minor in range(11, 14)]
    found = {version: shutil.which(f"python{version}") for version in wanted}
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in wanted:
        installed = sorted(pyenv.glob(f"{version}.*/bin/python"))
        found[version] = str(installed[-1]) if installed else found[version]
    return [path for path in found.values() if path is not None] or [sys.executable]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = ("cli", "mlops_kit", "templates", "pyproject.toml", "README.md", "LICENSE")
    source.mkdir()
    for name in names:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    run(UV, "build", "--wheel", "--quiet", "--python", sys.executable, "--out-dir", folder, source, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


def test_every_package_is_in_the_wheel(wheel: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(Path(installed) / path.relative_to(ROOT / folder))
        for folder, installed in (
            ("mlops_kit", "mlops_kit"),
            ("cli", "mlops_kit_cli"),
            ("templates", "mlops_kit_templates"),
        )
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources - shipped == set()
    assert {name.split("/")[0].split("-")[0] for name in shipped} == {
        "mlops_kit",
        "mlops_kit_cli",
        "mlops_kit_templates",
    }


@pytest.mark.parametrize("python", interpreters())
def test_the_installed_wheel_works(wheel: Path, tmp_path: Path, python: str) -> None:
    run(UV, "venv", "--quiet", "--no-python-downloads", "--python", python, "venv", cwd=tmp_path)
    run(UV, "pip", "install", "--quiet", "--python", "venv/bin/python", f"{wheel}", cwd=tmp_path)
    mlkit = tmp_path / "venv" / "bin" / "mlkit"
    assert "Commands:" in run(mlkit, "--help", cwd=tmp_path)
    run(mlkit, "init", "eta", "project", cwd=tmp_path)
    assert (tmp_path / "project" / "train.py").is_file()
    bundle = write_bundle(tmp_path / "tiny")
    answer = run(mlkit, "predict", bundle, cwd=tmp_path, stdin=json.dumps(dict.fromkeys(NAMES, 1)))
    assert json.loads(answer) == {"prediction": 3160.0}
    assert json.loads(run(mlkit, "verify", bundle, "--json", cwd=tmp_path))["is_good"]


def test_the_template_is_trained_exported_and_scored_by_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    run(UV, "venv", "--quiet", "--python", sys.executable, "venv", cwd=tmp_path)
    run(
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        "venv/bin/python",
        f"mlops-kit[sklearn,features] @ {wheel.as_uri()}",
        cwd=tmp_path,
    )
    run(tmp_path / "venv/bin/mlkit", "init", "eta", "project", cwd=tmp_path)
    # OpenMP's threads wait for each other in a busy loop, which other tests pay for.
    environment = (f"PATH={tmp_path}/venv/bin:/usr/bin:/bin", "OMP_NUM_THREADS=1")
    run("env", *environment, "make", "export", "batch", cwd=tmp_path / "project")
    assert list((tmp_path / "project" / "predictions").rglob("*.parquet"))


def test_the_server_needs_nothing_but_its_extra(wheel: Path, tmp_path: Path) -> None:
    """Other extras hold packages back: alone, it gets the newest."""
    run(UV, "venv", "--quiet", "--python", sys.executable, "venv", cwd=tmp_path)
    package = f"mlops-kit[serve] @ {wheel.as_uri()}"
    run(UV, "pip", "install", "--quiet", "--python", "venv/bin/python", package, cwd=tmp_path)
    bundle, mlkit = write_bundle(tmp_path / "tiny"), str(tmp_path / "venv" / "bin" / "mlkit")
    with serving(bundle, command=[mlkit]) as server, server.client() as client:
        answer = client.post("/invocations", json={"inputs": dict.fromkeys(NAMES, 1.0)})
        with grpc.insecure_channel(server.grpc_address) as channel:
            checked = channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
            listed = channel.unary_unary("/grpc.health.v1.Health/List")(b"")
    assert answer.json() == {"predictions": [{"prediction": 3160.0}]}
    assert checked == b"\x08\x01"  # status: SERVING
    assert b"tiny" in listed
