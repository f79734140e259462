"""What `mlkit serve` costs beyond the model, against the practical limit in Python and against other servers.

The flights model, one row in a request, one worker; wrk asks with 32 connections, and with one for the latency. Every
server runs alone, in rounds that interleave them, and medians are compared. Others are installed into environments of
their own.
Targets: 0.75 of a bare ASGI application (orjson, NumPy, session.run, no validation, no metrics) on the same HTTP
server, and a median latency at one connection of at most 1.4 times its; 8 times `mlflow models serve`, 4 times
MLServer, 2.5 times FastAPI with pydantic.

    python -m tests.benchmarks.bench_online [SECONDS] [ROUNDS] [alone]
"""

import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.benchmarks.flights_model import export_flights_model
from tests.benchmarks.online.servers import (
    Contender,
    bare,
    make_environment,
    mlflow,
    mlkit,
    mlserver,
    started,
    with_fastapi,
)
from tests.benchmarks.online.wrk import Measurement, load, write_bodies
from tests.benchmarks.verdict import report

SECONDS, ROUNDS, WARM_UP_S = 8.0, 3, 2.0
CONNECTIONS = 32
LATENCY_TARGET = 1.4
TARGETS = {"bare ASGI": 0.75, "FastAPI": 2.5, "MLServer": 4.0, "mlflow models serve": 8.0}


def main(seconds: float = SECONDS, rounds: int = ROUNDS, others: str = "all") -> None:
    """Print the table. `others` is "all", or "alone" for the bare application only."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = export_flights_model(folder / "bundle")
        body = write_bodies(folder).read_text().partition("\n")[0].encode()
        contenders = _install(folder, bundle, with_peers=others == "all")
        many: dict[str, list[float]] = defaultdict(list)
        one: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for contender in contenders:
                with started(contender, body):
                    load(contender.url, folder, CONNECTIONS, WARM_UP_S)
                    many[contender.name].append(
                        _checked(contender, load(contender.url, folder, CONNECTIONS, seconds)).rate
                    )
                    one[contender.name].append(
                        _checked(contender, load(contender.url, folder, 1, seconds / 2)).p50_s
                    )
    rates = {label: statistics.median(values) for label, values in many.items()}
    latencies = {label: statistics.median(values) for label, values in one.items()}
    _report(rates, latencies)


def _install(folder: Path, bundle: Path, *, with_peers: bool) -> list[Contender]:
    here = Path(sys.executable)
    contenders = [mlkit(bundle), bare(here, bundle)]
    if with_peers:
        fastapi = make_environment(
            folder / "fastapi", "fastapi", "uvicorn", "uvloop", "httptools", "numpy", "onnxruntime"
        )
        tracking = make_environment(folder / "mlflow", "mlflow", "onnx", "onnxruntime", "pyarrow")
        serving = make_environment(
            folder / "mlserver", "mlserver", "mlserver-mlflow", "mlflow", "onnx", "onnxruntime", "pyarrow"
        )
        contenders += [
            with_fastapi(fastapi, bundle),
            mlserver(serving, bundle, folder / "settings"),
            mlflow(tracking, bundle),
        ]
    return contenders


def _checked(contender: Contender, measurement: Measurement) -> Measurement:
    if measurement.failed:
        raise RuntimeError(f"{contender.name}: {measurement.failed} requests failed")
    return measurement


def _report(rates: dict[str, float], latencies: dict[str, float]) -> None:
    ours, our_latency = rates["mlkit serve"], latencies["mlkit serve"]
    for label, rate in rates.items():
        print(f"{label:<22}{rate:10,.0f} requests/s   p50 {latencies[label] * 1e3:6.3f} ms   {ours / rate:5.2f} ×")
    for label, target in TARGETS.items():
        if label in rates:
            report(f"requests/s, of {label}", ours / rates[label], ">=", target)
    report("median latency, of bare ASGI", our_latency / latencies["bare ASGI"], "<=", LATENCY_TARGET)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(float(given[0]) if given else SECONDS, int(given[1]) if given[1:] else ROUNDS, *given[2:])
