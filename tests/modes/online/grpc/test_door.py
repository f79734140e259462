"""The door itself, in this process: what it does before models are loaded, while it drains, and with its hooks."""

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from mlops_kit.errors import UsageError
from mlops_kit.modes.online.grpc.proto import messages
from mlops_kit.modes.online.grpc.server import GrpcDoor
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.listening import reserve
from mlops_kit.modes.online.metrics.counters import ModelMeter, SharedCounters
from mlops_kit.modes.online.metrics.layout import Layout
from tests.modes.online.grpc.opened import REQUEST, Status, code_of, opened
from tests.modes.online.loaded import load, make_models

pytestmark = pytest.mark.anyio

KEY = b"a-key-of-some-client"


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

        async def note_deadline(request: Any, deadline: float, *at_us: int) -> Any:
            left.append(deadline - time.perf_counter())
            return await infer(request, deadline, *at_us)

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
        host, port = held.getsockname()
        job = ServeJob("0", (host, port))
        doors = [GrpcDoor(models, job, counters, unnamed) for _ in range(2)]
        for door in doors:
            await door.start()
        for door in doors:
            # Whichever door the kernel chooses, the last one is left.
            async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                assert (await stub.ServerLive(pb.ServerLiveRequest(), wait_for_ready=True)).live
            await door.stop(0)


async def test_a_port_that_somebody_else_shares_with_nobody_is_not_taken() -> None:
    with reserve("127.0.0.1", 0) as held, pytest.raises(UsageError, match="--grpc-port"):
        reserve(*held.getsockname())


async def test_the_server_is_ready_when_all_workers_are(tiny: Path) -> None:
    async with opened(tiny) as this:
        this.say_that_workers_are_ready(are_ready=False)
        health = health_pb2_grpc.HealthStub(this.channel)
        watching = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == Status.NOT_SERVING
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == Status.NOT_SERVING
        assert not (await this.stub.ServerReady(pb.ServerReadyRequest())).ready
        assert (await this.stub.ModelReady(pb.ModelReadyRequest(name="tiny"))).ready
        this.say_that_workers_are_ready(are_ready=True)
        assert (await watching.read()).status == Status.SERVING
        assert (await this.stub.ServerReady(pb.ServerReadyRequest())).ready


async def test_all_who_watch_share_one_look(tiny: Path) -> None:
    async with opened(tiny) as this:
        asked = health_pb2.HealthCheckRequest(service="tiny")
        watching = [health_pb2_grpc.HealthStub(this.channel).Watch(asked) for _ in range(50)]
        assert {(await each.read()).status for each in watching} == {Status.SERVING}
        readiness = this.door._readiness
        of, looks, looked = readiness.of, [], asyncio.Event()

        def note_look(name: str) -> bool | None:
            looks.append(name)
            if looks.count("") == 3:
                looked.set()
            return of(name)

        readiness.of = note_look  # type: ignore[method-assign]
        await asyncio.wait_for(looked.wait(), 20)
        assert looks.count("tiny") <= 3
        this.door.is_draining = True
        assert {(await each.read()).status for each in watching} == {Status.NOT_SERVING}


async def test_metadata_has_the_digest_and_says_why_a_bundle_was_refused(tiny: Path) -> None:
    async with opened(tiny) as this:
        ask = this.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelMetadata",
            messages.ModelMetadataRequest.SerializeToString,
            messages.ModelMetadataResponse.FromString,
        )
        asked = messages.ModelMetadataRequest(name="tiny")
        digest = this.models.find("tiny").digest
        assert (await ask(asked)).parameters == {"digest": digest}
        this.models.refuse("tiny", "it has no goldens")
        assert (await ask(asked)).parameters == {"digest": digest, "refused": "it has no goldens"}
        assert (await this.stub.ModelMetadata(pb.ModelMetadataRequest(name="tiny"))).name == "tiny"


async def test_a_client_that_leaves_a_stream_leaves_nothing_behind(
    tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tiny) as this:
        tasks = asyncio.all_tasks()
        for _ in range(3):
            async with grpc.aio.insecure_channel(this.address) as channel:
                stream = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer()
                await stream.write(REQUEST)
                await stream.read()
                stream.cancel()
        async with asyncio.timeout(20):
            while {task for task in asyncio.all_tasks() - tasks if not task.done()}:
                await asyncio.sleep(0.02)
        gc.collect()
    assert "Task was destroyed" not in caplog.text
    assert not caplog.records
