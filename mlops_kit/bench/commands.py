"""mlkit's own commands, run as people run them: each in a process of its own."""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlops_kit.bench.interface import StageSums, Subject
from mlops_kit.errors import StoreError

MODEL = "model"
"""What the model is called on a server."""

START_S, STOP_S, LOOK_S = 60.0, 10.0, 0.02
STAGES = ("queue", "assemble", "model")


class BenchedServer:
    """`mlkit serve` while it runs. Its ports are known once it is ready."""

    http_port: int
    grpc_port: int

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def await_ready(self) -> None:
        """Raises StoreError if it does not start."""
        self.http_port, self.grpc_port = _ports(self._process)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.get("/v2/health/ready")
            except OSError:
                time.sleep(LOOK_S)
            else:
                return
        raise _not_ready()

    def get(self, path: str) -> bytes:
        """What it answers. Raises OSError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=START_S) as answer:
            body: bytes = answer.read()
        return body

    def stage_sums(self) -> StageSums:
        """From its metrics."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.get("/metrics").decode())
        samples = {
            (sample.name, sample.labels.get("stage", "")): sample.value
            for family in families
            for sample in family.samples
            if family.name == "mlkit_request_seconds"
        }
        seconds = {stage: samples["mlkit_request_seconds_sum", stage] for stage in STAGES}
        return StageSums(samples["mlkit_request_seconds_count", "total"], seconds)

    def peak_memory(self) -> int | None:
        """The sum over its processes of the most that each has taken; None where there is no /proc."""
        process = str(self._process.pid)
        children = Path(f"/proc/{process}/task/{process}/children")
        if not children.exists():
            return None
        return sum(_peak(each) for each in (process, *children.read_text().split()))


@contextmanager
def served(subject: Subject) -> Iterator[BenchedServer]:
    """A server with one worker and the settings that it has by itself, on ports of its own.

    It is in a session of its own, so that Ctrl-C does not reach it before what asks it has ended.
    """
    words = ("serve", f"{MODEL}={subject.bundle}", "--port", "0", "--grpc-port", "0", "--log-format", "json")
    with _started(
        subject, words, _own_environment(), stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        yield BenchedServer(process)


def predict_batch(subject: Subject, rows: Path, out: str, *words: str) -> dict[str, Any]:
    """Run `mlkit batch-predict` anew; returns the document that it prints. Raises StoreError with what it said."""
    line = ("batch-predict", str(subject.bundle), str(rows), "--fresh", "--json", *words)
    # The address may have a password, and everybody can see the list of processes.
    environment = _own_environment() | {"MLKIT_BATCH_PREDICT_OUT": out}
    with _started(subject, line, environment, stderr=subprocess.PIPE) as process:
        printed, said = process.communicate()
    if process.returncode:
        raise StoreError("mlkit batch-predict failed", said.strip(), "run it by itself")
    document: dict[str, Any] = json.loads(printed)
    return document


@contextmanager
def _started(
    subject: Subject, words: Sequence[str], environment: Mapping[str, str], **how: Any
) -> Iterator["subprocess.Popen[str]"]:
    """A command, until the block ends. It runs in the bench's own folder: an mlkit.toml of the user's would change
    what is measured.
    """
    started = subprocess.Popen(
        [*subject.command, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=subject.folder,
        env=environment,
        **how,
    )
    with started as process, subject.caretaker.minding(process):
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _own_environment() -> dict[str, str]:
    """Without the user's settings of those commands, which are measured as they are by themselves."""
    own = ("MLKIT_SERVE_", "MLKIT_BATCH_PREDICT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def _ports(process: "subprocess.Popen[str]") -> Iterator[int]:
    if process.stdout is None:
        raise RuntimeError("stdout is a pipe")
    for _ in range(2):
        line = process.stdout.readline()
        if not line:
            raise _not_ready()
        yield int(line.rpartition(":")[2])


def _not_ready() -> StoreError:
    return StoreError("mlkit serve does not start", fix="run it by itself, which says why: mlkit serve BUNDLE")


def _peak(process: str) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
