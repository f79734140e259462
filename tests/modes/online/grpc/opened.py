"""A door in this process, over models that a test may hold up, and a channel through it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2_grpc

from mlops_kit.modes.online.grpc.server import GrpcDoor
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.listening import reserve
from mlops_kit.modes.online.metrics.counters import ModelMeter, SharedCounters
from mlops_kit.modes.online.metrics.exposition import render_metrics
from mlops_kit.modes.online.metrics.layout import Layout
from mlops_kit.modes.online.models import Models
from tests.modes.online.grpc.requests import raw_request
from tests.modes.online.loaded import load, make_models

ROW = np.ones((1, 80), np.float32)
REQUEST = raw_request("tiny", ("input", "FP32", (1, 80), ROW.tobytes()))
MOST_BYTES = 200_000
NO_KEYS = Keys()
Status = health_pb2.HealthCheckResponse


@dataclass
class Opened:
    """A door, its models, and a channel through it."""

    door: GrpcDoor
    models: Models
    counters: SharedCounters
    address: str
    channel: grpc.aio.Channel

    def counted(self) -> list[str]:
        """The lines of /metrics that count requests."""
        body, _ = render_metrics(self.counters, {}, "")
        return [line for line in body.decode().splitlines() if line.startswith("mlkit_requests_total")]

    def say_that_workers_are_ready(self, *, are_ready: bool) -> None:
        """As the supervisor says it, in the last slot."""
        self.counters.slot(1)[self.counters.layout.is_ready] = are_ready

    @property
    def stub(self) -> Any:
        return service_pb2_grpc.GRPCInferenceServiceStub(self.channel)


@asynccontextmanager
async def opened(
    bundle: Path, *, is_loaded: bool = True, keys: Keys = NO_KEYS, names: Sequence[str] = ("tiny",)
) -> AsyncIterator[Opened]:
    limits = Limits(timeout_s=20, body_bytes=MOST_BYTES)
    layout = Layout(names)
    counters = SharedCounters(layout, 2)
    models = make_models(counters, limits)
    if is_loaded:
        for name in names:
            await load(models, name, bundle)
    with reserve("127.0.0.1", 0) as held:
        host, port = held.getsockname()
        job = ServeJob("0", (host, port), limits=limits, keys=keys)
        door = GrpcDoor(models, job, counters, ModelMeter(layout.unnamed, counters.slot(0)))
        await door.start()
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            this = Opened(door, models, counters, f"{host}:{port}", channel)
            this.say_that_workers_are_ready(are_ready=True)
            yield this
        await door.stop(0)


async def code_of(call: Any) -> StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    code: StatusCode = caught.value.code()
    return code
