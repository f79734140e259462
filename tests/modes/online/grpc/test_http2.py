"""The server beneath the gRPC door, with handlers that echo, in this process."""

import asyncio
import os
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from jh2 import events
from jh2.config import H2Configuration
from jh2.connection import H2Connection

from mlops_kit.modes.online.grpc.http2.framing import frame
from tests.modes.online.grpc.echoing import CONTENT_TYPE, MOST_BYTES, echoing

pytestmark = pytest.mark.anyio

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HOSTILE = {
    "nothing like it": b"hello, is anybody there?\r\n" * 10,
    "HTTP/1": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "a frame that is too long": PREFACE + b"\xff\xff\xff\4\0\0\0\0\0",
    "data for no stream": PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\1\0\0\0\0\0\1x",
    "headers that are none": PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\1\5\0\0\0\1\xff\xff\xff\xff",
    "an end of headers that never comes": PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\1\1\0\0\0\0\1\x82" + b"\0\0\0\x09\0\0\0\0\1" * 99,
}  # fmt: skip


async def test_a_message_that_is_refused_when_it_is_there_in_full_keeps_the_connection() -> None:
    async with echoing() as this, this.channel() as channel:
        one = channel.unary_unary("/echo.Echo/One")
        assert await one(b"before") == b"before"
        connections = set(this.server.connections)
        with pytest.raises(grpc.RpcError) as caught:
            await one(bytes(MOST_BYTES + 1), compression=grpc.Compression.Gzip)
        assert caught.value.code() == StatusCode.RESOURCE_EXHAUSTED
        assert await one(b"after") == b"after"
        assert this.server.connections == connections


@pytest.mark.parametrize("size", [0, 1, 2**14, 2**16, 2**20, MOST_BYTES])
async def test_messages_of_every_size_go_and_come(size: int) -> None:
    data = os.urandom(size)
    async with echoing() as this, this.channel() as channel:
        assert await channel.unary_unary("/echo.Echo/One")(data) == data
        call = channel.stream_stream("/echo.Echo/All")(iter([data, b"x", data]))
        assert [part async for part in call] == [data, b"x", data]


async def test_many_calls_on_one_connection_get_their_own_answers() -> None:
    async with echoing() as this, this.channel() as channel:
        one = channel.unary_unary("/echo.Echo/One")
        sent = [str(index).encode() * 1000 for index in range(500)]
        assert await asyncio.gather(*(one(data) for data in sent)) == sent


async def test_what_is_no_call_is_unimplemented() -> None:
    async with echoing() as this, this.channel() as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await channel.unary_unary("/echo.Echo/Two")(b"")
    assert caught.value.code() == StatusCode.UNIMPLEMENTED


async def test_calls_that_are_not_there_harm_no_other_on_their_connection() -> None:
    async with echoing() as this, this.channel() as channel:
        one, two = channel.unary_unary("/echo.Echo/One"), channel.unary_unary("/echo.Echo/Two")
        calls = [call(b"sent") for _ in range(100) for call in (one, two)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[::2] == [b"sent"] * 100
    assert {error.code() for error in outcomes[1::2] if isinstance(error, grpc.RpcError)} == {
        StatusCode.UNIMPLEMENTED
    }


async def test_metadata_comes_with_bytes_as_bytes() -> None:
    async with echoing() as this, this.channel() as channel:
        await channel.unary_unary("/echo.Echo/One")(b"", metadata=(("a", "b"), ("c-bin", b"\xff\0")))
        assert {("a", "b"), ("c-bin", b"\xff\0")} <= set(this.metadata)


async def test_a_call_that_its_client_gives_up_is_given_up() -> None:
    async with echoing() as this, this.channel() as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await channel.unary_unary("/echo.Echo/Hang")(b"", timeout=0.2)
        await asyncio.wait_for(this.cancelled.wait(), 20)
    assert caught.value.code() == StatusCode.DEADLINE_EXCEEDED


async def test_a_client_that_goes_away_takes_its_calls_with_it() -> None:
    async with echoing() as this:
        async with this.channel() as channel:
            channel.unary_unary("/echo.Echo/Hang")(b"")
            await asyncio.wait_for(this.begun.wait(), 20)
        await asyncio.wait_for(this.cancelled.wait(), 20)


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
async def test_a_client_that_speaks_otherwise_is_cut_and_others_go_on(data: bytes) -> None:
    async with echoing(read_timeout_s=0.3) as this, this.channel() as channel:
        reader, writer = await asyncio.open_connection("127.0.0.1", this.port)
        writer.write(data)
        await asyncio.wait_for(_until_closed(reader), 20)
        writer.close()
        assert await channel.unary_unary("/echo.Echo/One")(b"x") == b"x"


async def _until_closed(reader: asyncio.StreamReader) -> None:
    try:
        await reader.read()
    except ConnectionError:
        return


async def converse(port: int, call: str, data: bytes) -> list[Any]:
    """What a client hears that has sent this, and takes 64 kB at a time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    h2 = H2Connection(H2Configuration())
    h2.initiate_connection()
    h2.send_headers(
        1, [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", call), *CONTENT_TYPE]
    )
    h2.send_data(1, data, end_stream=len(data) == 5)
    heard: list[Any] = []
    while not any(isinstance(event, events.StreamEnded) for event in heard):
        writer.write(h2.data_to_send())
        heard += (news := h2.receive_data(await asyncio.wait_for(reader.read(2**16), 20)))
        for event in news:
            if isinstance(event, events.DataReceived):
                h2.acknowledge_received_data(event.flow_controlled_length, 1)
    writer.close()
    return heard


async def test_a_client_that_sends_half_a_message_is_told_that_its_time_is_over() -> None:
    async with echoing(read_timeout_s=0.3) as this:
        heard = await converse(this.port, "/echo.Echo/One", b"\0\0\0\0\7half")
    headers = next(event.headers for event in heard if isinstance(event, events.ResponseReceived))
    assert dict(headers)[b"grpc-status"] == b"%d" % StatusCode.DEADLINE_EXCEEDED.value[0]


async def test_no_more_is_sent_than_the_client_has_room_for() -> None:
    async with echoing() as this:
        heard = await converse(this.port, "/echo.Echo/Much", b"\0\0\0\0\0")
    sent = b"".join(event.data for event in heard if isinstance(event, events.DataReceived))
    assert sent == frame(bytes(MOST_BYTES))


async def test_a_server_that_stops_loses_no_request_while_another_has_its_port() -> None:
    stopped, all_asked = asyncio.Event(), asyncio.Barrier(9)

    async def ask(channel: grpc.aio.Channel) -> int:
        count = after = 0
        one = channel.unary_unary("/echo.Echo/One")
        while after < 50:
            assert await one(b"%d" % count, timeout=20, wait_for_ready=True) == b"%d" % count
            count += 1
            if count == 50:
                await all_asked.wait()
            after += stopped.is_set()
        return count

    async with echoing() as first:
        channels = [first.channel() for _ in range(8)]
        asking = [asyncio.create_task(ask(channel)) for channel in channels]
        await all_asked.wait()
        async with echoing(port=first.port):
            await first.server.stop(20)
            assert not first.server.connections
            stopped.set()
            assert min(await asyncio.gather(*asking)) > 50
            for channel in channels:
                await channel.close()
