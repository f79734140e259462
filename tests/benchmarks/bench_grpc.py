"""How many one-row requests per second `mlkit serve` answers over gRPC, beside MLServer.

The flights model, one process each, 32 connections with one request at a time, raw contents, the same rows for both.
MLServer is in an environment of its own and runs the model twice: in its MLflow runtime, on the bundle itself, asked with
a tensor for each column; and in a runtime of ten lines that only hands the matrix to ONNX Runtime, which is the least that
one can do there. The faster of its answers is what counts. h2load (Debian's nghttp2-client) sends prebuilt messages from
another process; its own share of a core is printed, so that one can see that it has time to spare.
Target: 3 times MLServer's requests per second, in the median of the rounds.

    python -m tests.benchmarks.bench_grpc [ROUNDS] [SECONDS]
"""

import json
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from mlops_kit.modes.online.grpc.doorkeeper import SERVICE
from mlops_kit.modes.online.grpc.proto.messages import ModelInferRequest, ModelInferResponse
from tests.benchmarks.flights_model import COLUMNS, export_flights_model, read_flights
from tests.benchmarks.verdict import report
from tests.modes.online.server import serving

ROUNDS, SECONDS, CONNECTIONS, TARGET = 5, 5, 32, 3.0
START_S = 60

RUNTIME = """
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Onnx(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        self.tensor = self.session.get_inputs()[0].name
        return True

    async def predict(self, payload):
        answer = self.session.run(None, {self.tensor: NumpyCodec.decode_input(payload.inputs[0])})[0]
        outputs = [NumpyCodec.encode_output("prediction", answer)]
        return InferenceResponse(model_name=self.name, outputs=outputs)
"""


@dataclass(frozen=True)
class Way:
    """Who is asked, where, and with what."""

    label: str
    address: str
    message: Path


def main(rounds: int = ROUNDS, seconds: int = SECONDS) -> None:
    """Print the rates, the ratio and the verdict."""
    if not shutil.which("h2load"):
        raise SystemExit("h2load is missing: apt-get install nghttp2-client")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export_flights_model(folder / "bundle")
        peer = _install_peer(folder / "peer")
        with serving(f"flights={bundle}") as ours, _mlserver(peer, bundle, folder / "models") as theirs:
            matrix, columns = _requests("flights")
            _, mlflow = _requests("mlflow")
            onnx, _ = _requests("onnx")
            ways = [
                Way("mlkit, a matrix", ours.grpc_address, _framed(folder / "a", matrix)),
                Way("mlkit, columns", ours.grpc_address, _framed(folder / "b", columns)),
                Way("MLServer, a matrix, own runtime", theirs, _framed(folder / "c", onnx)),
                Way("MLServer, columns, MLflow runtime", theirs, _framed(folder / "d", mlflow)),
            ]
            _check_that_answers_agree(ways, [matrix, columns, onnx, mlflow])
            _report(ways, rounds, seconds)


def _report(ways: list[Way], rounds: int, seconds: int) -> None:
    rates: dict[str, list[float]] = {way.label: [] for way in ways}
    shares: dict[str, list[float]] = {way.label: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            rate, share = _load(way, seconds)
            rates[way.label].append(rate)
            shares[way.label].append(share)
    medians = {label: statistics.median(values) for label, values in rates.items()}
    for label, median in medians.items():
        share = statistics.median(shares[label])
        print(f"{label:<36}{median:10,.0f} requests/s   client {share:4.0%} of a core")
    ours = max(rate for label, rate in medians.items() if label.startswith("mlkit"))
    ratio = ours / max(rate for label, rate in medians.items() if label.startswith("MLServer"))
    report("requests/s over gRPC, of MLServer's", ratio, ">=", TARGET)


def _load(way: Way, seconds: int) -> tuple[float, float]:
    """Requests per second, and the client's share of a core."""
    url = f"http://{way.address}/{SERVICE}/ModelInfer"
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    words = [
        "-c",
        str(CONNECTIONS),
        "-m",
        "1",
        "-t",
        "1",
        "-D",
        str(seconds),
        "-d",
        str(way.message),
        *headers,
        url,
    ]
    before, started = _child_cpu(), time.perf_counter()
    done = subprocess.run(["h2load", *words], check=True, capture_output=True, text=True)
    share = (_child_cpu() - before) / (time.perf_counter() - started)
    found = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
    if not found or " 0 failed, 0 errored" not in done.stdout:
        raise SystemExit(f"{way.label}: {done.stdout}")
    return float(found[1]), share


def _child_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _requests(model: str) -> "tuple[ModelInferRequest, ModelInferRequest]":
    """One flight as a matrix, and as columns."""
    flight = read_flights().select(COLUMNS).to_numpy()[:1].astype(np.float64)
    matrix, columns = ModelInferRequest(model_name=model), ModelInferRequest(model_name=model)
    matrix.inputs.add(name="input", datatype="FP64", shape=flight.shape)
    matrix.raw_input_contents.append(flight.tobytes())
    for name, value in zip(COLUMNS, flight[0], strict=True):
        columns.inputs.add(name=name, datatype="FP64", shape=[1, 1])
        columns.raw_input_contents.append(value.tobytes())
    return matrix, columns


def _framed(path: Path, request: ModelInferRequest) -> Path:
    """As gRPC sends it: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md."""
    data = request.SerializeToString()
    path.write_bytes(b"\0" + len(data).to_bytes(4, "big") + data)
    return path


def _check_that_answers_agree(ways: list[Way], requests: list[ModelInferRequest]) -> None:
    answers = set()
    for way, request in zip(ways, requests, strict=True):
        with grpc.insecure_channel(way.address) as channel:
            call = channel.unary_unary(
                f"/{SERVICE}/ModelInfer", ModelInferRequest.SerializeToString, ModelInferResponse.FromString
            )
            answers.add(call(request, timeout=10).raw_output_contents[0])
    if len(answers) > 1:
        raise SystemExit("the servers' answers differ")


@contextmanager
def _mlserver(peer: Path, bundle: Path, folder: Path) -> Iterator[str]:
    """The address of its gRPC port. No process but its own answers, as with one worker of ours."""
    http, port, metrics = (_free_port() for _ in range(3))
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": port, "metrics_port": metrics}
    models = {
        "mlflow": ("mlserver_mlflow.MLflowRuntime", bundle),
        "onnx": ("runtime.Onnx", bundle / "model.onnx"),
    }
    for name, (implementation, uri) in models.items():
        (folder / name).mkdir(parents=True)
        model = {"name": name, "implementation": implementation, "parameters": {"uri": str(uri)}}
        (folder / name / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0, "debug": False}))
    (folder / "runtime.py").write_text(RUNTIME)
    command = [peer.with_name("mlserver"), "start", folder]
    path = {"PATH": f"{peer.parent}:/usr/bin:/bin", "PYTHONPATH": str(folder)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=path, stdout=log, stderr=subprocess.STDOUT)
    try:
        _await_ready(f"127.0.0.1:{port}")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _await_ready(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        ready = channel.unary_unary(f"/{SERVICE}/ServerReady")
        deadline = time.monotonic() + START_S
        # A message whose first field is true.
        while ready(b"", timeout=START_S, wait_for_ready=True) != b"\x08\x01":
            if time.monotonic() > deadline:
                raise SystemExit("MLServer is not ready")
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _install_peer(folder: Path) -> Path:
    """Into an environment of its own, so that it gets the versions that it wants."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    packages = ["mlserver", "mlserver-mlflow", "onnx", "onnxruntime"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
