"""Requests over gRPC that get no prediction are counted, as those over HTTP are."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2 as pb

from mlops_kit.modes.online.keys import Keys
from tests.modes.online.grpc.opened import MOST_BYTES, REQUEST, Opened, code_of, opened

pytestmark = pytest.mark.anyio

KEYS = Keys((b"a-key-of-some-client",))
METADATA = (("x-api-key", "a-key-of-some-client"),)
METHOD = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


async def ask_without_a_key(this: Opened) -> None:
    await code_of(this.stub.ModelInfer(REQUEST))


async def ask_a_stream_without_a_key(this: Opened) -> None:
    await code_of(this.stub.ModelStreamInfer().read())


async def ask_what_nobody_can_read(this: Opened) -> None:
    await code_of(this.channel.unary_unary(METHOD)(b"\xff", metadata=METADATA))


async def ask_a_stream_what_nobody_can_read(this: Opened) -> None:
    await this.channel.stream_stream(STREAM)(iter([b"\xff"]), metadata=METADATA).read()


async def ask_too_much(this: Opened) -> None:
    await code_of(this.channel.unary_unary(METHOD)(bytes(MOST_BYTES + 1), metadata=METADATA))


async def ask_a_stream_too_much(this: Opened) -> None:
    await code_of(this.channel.stream_stream(STREAM)(iter([bytes(MOST_BYTES + 1)]), metadata=METADATA).read())


FAILURES: dict[str, tuple[Callable[[Opened], Awaitable[None]], int]] = {
    "no key": (ask_without_a_key, 401),
    "a stream without a key": (ask_a_stream_without_a_key, 401),
    "no message": (ask_what_nobody_can_read, 400),
    "no message in a stream": (ask_a_stream_what_nobody_can_read, 400),
    "too much": (ask_too_much, 413),
    "too much in a stream": (ask_a_stream_too_much, 413),
}


@pytest.mark.parametrize(("names", "label"), [(["tiny"], "tiny"), (["tiny", "other"], "")])
@pytest.mark.parametrize(("ask", "status"), FAILURES.values(), ids=FAILURES)
async def test_a_request_that_no_model_has_seen_is_counted_where_its_model_is_known_or_without_one(
    tiny: Path, ask: Callable[[Opened], Awaitable[None]], status: int, names: Sequence[str], label: str
) -> None:
    async with opened(tiny, keys=KEYS, names=names) as this:
        await ask(this)
        assert this.counted() == [f'mlkit_requests_total{{door="grpc",model="{label}",status="{status}"}} 1.0']


async def test_a_request_that_its_client_gives_up_is_counted(tiny: Path) -> None:
    async with opened(tiny, names=("tiny", "other")) as this:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def hang(*_arguments: Any) -> Any:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        this.models.find("tiny").infer = hang  # type: ignore[method-assign]
        call = this.stub.ModelInfer(REQUEST)
        asking = asyncio.ensure_future(code_of(call))
        await asyncio.wait_for(begun.wait(), 20)
        call.cancel()
        await asyncio.wait_for(ended.wait(), 20)
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert this.counted() == ['mlkit_requests_total{door="grpc",model="tiny",status="499"} 1.0']


async def test_calls_that_ask_for_no_prediction_are_not_counted(tiny: Path) -> None:
    async with opened(tiny, keys=KEYS) as this:
        await code_of(this.stub.ModelMetadata(pb.ModelMetadataRequest(name="tiny")))
        assert await this.stub.ModelMetadata(pb.ModelMetadataRequest(name="tiny"), metadata=METADATA)
        assert this.counted() == []
