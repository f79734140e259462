"""The door itself, in this process: what it does before models are loaded, while it drains, and with its hooks."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from mlops_kit.errors import UsageError
from mlops_kit.modes.online.grpc.server import GrpcDoor
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.listening import reserve
from mlops_kit.modes.online.metrics.counters import ModelMeter, SharedCounters
from mlops_kit.modes.online.metrics.layout import Layout
from mlops_kit.modes.online.models import Models
from tests.modes.online.grpc.requests import raw_request
from tests.modes.online.loaded import load, make_models

pytestmark = pytest.mark.anyio

ROW = np.ones((1, 80), np.float32)
REQUEST = raw_request("tiny", ("input", "FP32", (1, 80), ROW.tobytes()))
NO_KEYS = Keys()
KEY = b"a-key-of-some-client"
Status = health_pb2.HealthCheckResponse


@dataclass
class Opened:
    """A door, its models, and a channel through it."""

    door: GrpcDoor
    models: Models
    address: str
    channel: grpc.aio.Channel

    @property
    def stub(self) -> Any:
        return service_pb2_grpc.GRPCInferenceServiceStub(self.channel)


@asynccontextmanager
async def opened(bundle: Path, *, is_loaded: bool = True, keys: Keys = NO_KEYS) -> AsyncIterator[Opened]:
    limits = Limits(timeout_s=20)
    layout = Layout(["tiny"])
    counters = SharedCounters(layout, 2)
    counters.slot(0)[layout.is_ready] = 1
    models = make_models(counters, limits)
    if is_loaded:
        await load(models, "tiny", bundle)
    with reserve("127.0.0.1", 0) as held:
        host, port = held.getsockname()
        job = ServeJob({}, "0", (host, port), limits=limits, keys=keys)
        door = GrpcDoor(models, job, counters, ModelMeter(layout.unnamed, counters.slot(0)))
        await door.start()
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            yield Opened(door, models, f"{host}:{port}", channel)
        await door.stop(0)


async def code_of(call: Any) -> StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    code: StatusCode = caught.value.code()
    return code


async def test_a_model_that_is_not_loaded_is_not_ready_until_it_is(tiny: Path) -> None:
    async with opened(tiny, is_loaded=False) as this:
        watching = health_pb2_grpc.HealthStub(this.channel).Watch(health_pb2.HealthCheckRequest(service="tiny"))
        before = await watching.read()
        assert await code_of(this.stub.ModelInfer(REQUEST)) == StatusCode.UNAVAILABLE
        assert not (await this.stub.ServerReady(pb.ServerReadyRequest())).ready
        assert not (await this.stub.ModelReady(pb.ModelReadyRequest(name="tiny"))).ready
        assert (await this.stub.RepositoryIndex(pb.RepositoryIndexRequest())).models[0].state == "UNAVAILABLE"
        await load(this.models, "tiny", tiny)
        after = await watching.read()
        assert (before.status, after.status) == (Status.NOT_SERVING, Status.SERVING)
        assert await this.stub.ModelInfer(REQUEST)


async def test_a_draining_door_is_not_ready_and_answers_what_comes(tiny: Path) -> None:
    async with opened(tiny) as this:
        this.door.is_draining = True
        health = health_pb2_grpc.HealthStub(this.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == Status.NOT_SERVING
        assert not (await this.stub.ServerReady(pb.ServerReadyRequest())).ready
        assert await this.stub.ModelInfer(REQUEST)


async def test_a_door_that_stops_answers_what_has_begun_and_nothing_else(tiny: Path) -> None:
    async with opened(tiny) as this:
        model = this.models.find("tiny")
        infer, begun, gate = model.infer, asyncio.Event(), asyncio.Event()

        async def infer_slowly(*arguments: Any) -> Any:
            begun.set()
            await gate.wait()
            return await infer(*arguments)

        model.infer = infer_slowly  # type: ignore[method-assign]
        answering = asyncio.ensure_future(this.stub.ModelInfer(REQUEST))
        idle_stream = this.stub.ModelStreamInfer()
        await idle_stream.wait_for_connection()
        await begun.wait()
        stopping = asyncio.create_task(this.door.stop(20))
        assert await code_of(idle_stream.read()) == StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(this.address) as late:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(late)
            assert await code_of(stub.ModelInfer(REQUEST)) == StatusCode.UNAVAILABLE
        assert not stopping.done()
        gate.set()
        assert (await answering).outputs[0].name == "prediction"
        await stopping


async def test_the_earliest_deadline_counts(tiny: Path) -> None:
    async with opened(tiny) as this:
        model = this.models.find("tiny")
        infer, left = model.infer, []

        async def note_deadline(request: Any, deadline: float) -> Any:
            left.append(deadline - time.perf_counter())
            return await infer(request, deadline)

        model.infer = note_deadline  # type: ignore[method-assign]
        shorter = pb.ModelInferRequest(parameters={"timeout": pb.InferParameter(int64_param=5_000_000)})
        shorter.MergeFrom(REQUEST)
        await this.stub.ModelInfer(REQUEST)
        await this.stub.ModelInfer(REQUEST, timeout=10)
        await this.stub.ModelInfer(shorter, timeout=10)
    # gRPC rounds the deadlines that it sends up.
    assert 12 < left[0] <= 20
    assert 5 < left[1] <= 12
    assert 0 < left[2] <= 5


async def test_a_bug_is_logged_and_not_told(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tiny) as this:
        this.models.find("tiny").infer = None  # type: ignore[method-assign, assignment]
        with pytest.raises(grpc.RpcError, match="its log says why") as caught:
            await this.stub.ModelInfer(REQUEST)
    assert caught.value.code() == StatusCode.INTERNAL
    assert "TypeError" in caplog.text


async def test_who_may_not_ask_is_told_so_by_every_call(tiny: Path) -> None:
    async with opened(tiny, keys=Keys((KEY,))) as this:
        assert await code_of(this.stub.ModelInfer(REQUEST)) == StatusCode.UNAUTHENTICATED
        assert await code_of(this.stub.ModelStreamInfer().read()) == StatusCode.UNAUTHENTICATED
        for metadata in (("authorization", f"Bearer {KEY.decode()}"), ("x-api-key", KEY.decode())):
            assert await this.stub.ModelInfer(REQUEST, metadata=(metadata,))
        assert (await this.stub.ServerReady(pb.ServerReadyRequest())).ready
        health = health_pb2_grpc.HealthStub(this.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == Status.SERVING


async def test_statistics_are_those_of_the_rest_door(tiny: Path) -> None:
    async with opened(tiny) as this:
        for _ in range(3):
            await this.stub.ModelInfer(REQUEST)
        answer = await this.stub.ModelStatistics(pb.ModelStatisticsRequest(name="tiny"))
        assert (
            await code_of(this.stub.ModelStatistics(pb.ModelStatisticsRequest(name="x"))) == StatusCode.NOT_FOUND
        )
    assert answer.model_stats[0].inference_stats.success.count == 3


async def test_two_doors_share_a_held_port(tiny: Path) -> None:
    layout = Layout([])
    counters = SharedCounters(layout, 2)
    models = make_models(counters, Limits())
    unnamed = ModelMeter(layout.unnamed, counters.slot(0))
    with reserve("127.0.0.1", 0) as held:
        job = ServeJob({}, "0", held.getsockname())
        doors = [GrpcDoor(models, job, counters, unnamed) for _ in range(2)]
        for door in doors:
            await door.start()
        for door in doors:
            await door.stop(0)


async def test_a_port_that_somebody_else_shares_with_nobody_is_not_taken(tiny: Path) -> None:
    with reserve("127.0.0.1", 0) as held, pytest.raises(UsageError, match="--grpc-port"):
        reserve(*held.getsockname())
