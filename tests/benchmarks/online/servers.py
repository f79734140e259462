"""mlkit's server and others over the same bundle, each in a process and, where it is another's, an environment of its own."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.mlkit import COMMAND
from tests.ports import free_port

START_S = 120
UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


@dataclass(frozen=True)
class Contender:
    """`command` is started in `folder`; it answers at `path` of `port`."""

    name: str
    command: Sequence[str]
    port: int
    path: str = "/invocations"
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


def mlkit(bundle: Path, *words: str) -> Contender:
    """One worker."""
    port = free_port()
    return Contender("mlkit serve", [*COMMAND, "serve", str(bundle), "--port", str(port), *words], port)


def bare(python: Path, bundle: Path) -> Contender:
    """The practical limit, on the same HTTP server."""
    port = free_port()
    app = ("-m", "uvicorn", "--factory", "tests.benchmarks.online.bare:make_app", *UVICORN, "--port", str(port))
    return Contender("bare ASGI", [str(python), *app], port, environment={"BENCH_BUNDLE": str(bundle)})


def with_fastapi(python: Path, bundle: Path) -> Contender:
    """FastAPI and pydantic, on the same HTTP server."""
    port = free_port()
    app = (
        "-m",
        "uvicorn",
        "--factory",
        "tests.benchmarks.online.with_fastapi:make_app",
        *UVICORN,
        "--port",
        str(port),
    )
    return Contender("FastAPI", [str(python), *app], port, environment={"BENCH_BUNDLE": str(bundle)})


def mlflow(python: Path, bundle: Path) -> Contender:
    """`mlflow models serve`, one worker."""
    port = free_port()
    words = (
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(bundle),
        "--env-manager",
        "local",
        "-w",
        "1",
        "-p",
        str(port),
    )
    path = f"{python.parent}:{os.environ['PATH']}"
    return Contender("mlflow models serve", [str(python), *words], port, environment={"PATH": path})


def mlserver(python: Path, bundle: Path, folder: Path) -> Contender:
    """MLServer with its MLflow runtime, in the process that takes the requests."""
    folder.mkdir(exist_ok=True)
    port, grpc_port, metrics_port = free_port(), free_port(), free_port()
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": "flights",
        "implementation": "mlserver_mlflow.MLflowRuntime",
        "parameters": {"uri": str(bundle)},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    command = [str(python.parent / "mlserver"), "start", str(folder)]
    return Contender("MLServer", command, port, folder=folder)


def make_environment(folder: Path, *packages: str) -> Path:
    """A Python with these packages."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


@contextmanager
def started(contender: Contender, body: bytes) -> Iterator["subprocess.Popen[bytes]"]:
    """Run it until the block ends, which begins once it gives an answer."""
    log = subprocess.DEVNULL
    environment = {**os.environ, **contender.environment}
    process = subprocess.Popen(
        contender.command, env=environment, stdout=log, stderr=log, cwd=contender.folder, start_new_session=True
    )
    try:
        _await_answer(contender, process, body)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _await_answer(contender: Contender, process: "subprocess.Popen[bytes]", body: bytes) -> None:
    deadline = time.monotonic() + START_S
    request = urllib.request.Request(contender.url, body, {"content-type": "application/json"})
    said = ""
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except urllib.error.HTTPError as error:
            said = error.read().decode()
        except OSError as error:
            said = str(error)
        time.sleep(0.2)
    raise RuntimeError(f"{contender.name} does not answer: {said}")
