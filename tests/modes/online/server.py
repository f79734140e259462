"""A real server in a process of its own, on a free port."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.cli.mlkit import COMMAND

START_S = 120
ADMIN_KEY = "the-key-of-an-administrator"


@dataclass(frozen=True)
class RunningServer:
    """`url` has no slash at its end; `grpc_address` is host and port."""

    process: "subprocess.Popen[str]"
    url: str
    grpc_address: str

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, **options)

    @property
    def address(self) -> tuple[str, int]:
        """For raw sockets."""
        host, _, port = self.url.rpartition("/")[2].rpartition(":")
        return host, int(port)

    @property
    def workers(self) -> list[int]:
        """The processes that answer."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def admin(self) -> httpx.Client:
        """A client that may load models, where ADMIN_KEY is a key."""
        return self.client(headers={"authorization": f"Bearer {ADMIN_KEY}"})

    def stop(self) -> tuple[int, str]:
        """Terminate it, and return its exit code and what it said."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@contextmanager
def serving(*words: object, command: Sequence[str] = COMMAND, **environment: str) -> Iterator[RunningServer]:
    """`mlkit serve WORDS` on a port of its own, once it is ready."""
    words = ("serve", *words, "--port", "0", "--grpc-port", "0")
    process = subprocess.Popen(
        [*command, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        assert process.stdout is not None
        url, grpc_url = (process.stdout.readline().strip() for _ in range(2))
        server = RunningServer(process, url, grpc_url.rpartition("/")[2])
        _await_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _await_ready(server: RunningServer) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            if httpx.get(f"{server.url}/v2/health/ready", verify=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    server.process.kill()
    raise AssertionError(f"the server is not ready: {server.process.communicate()}")
