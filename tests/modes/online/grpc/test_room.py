"""How much of what clients send lies unread in the server."""

import asyncio
import os

import grpc
import pytest
from jh2 import events

from mlops_kit.modes.online.grpc.http2.call import FIRST_BYTES
from mlops_kit.modes.online.grpc.http2.room import LARGE_MESSAGES, UPDATE_BYTES
from tests.modes.online.grpc.echoing import MOST_BYTES, Client, connected, echoing

pytestmark = pytest.mark.anyio

LARGE_BYTES = LARGE_MESSAGES * MOST_BYTES
CHUNK = bytes(2**14)
SIZE = 2**20
HEAD = b"\0" + SIZE.to_bytes(4, "big")


async def send_all_that_is_allowed(client: Client, streams: range) -> int:
    """Messages that lack one byte; how many bytes the server took of them."""
    left = dict.fromkeys(streams, SIZE - 1)
    before = -1
    while (count := len(streams) * (SIZE - 1) - sum(left.values())) > before:
        before = count
        for stream_id in streams:
            while (room := min(client.h2.local_flow_control_window(stream_id), left[stream_id], len(CHUNK))) > 0:
                client.h2.send_data(stream_id, CHUNK[:room])
                left[stream_id] -= room
            client.tell()
            await client.writer.drain()
        client.h2.ping(b"all sent")
        await client.hear(events.PingAckReceived)
        client.heard = []
    return count


@pytest.mark.parametrize("call", ["One", "All"])
async def test_a_connection_holds_no_more_than_its_room(call: str) -> None:
    streams = range(1, 121, 2)
    async with echoing() as this, connected(this.port) as client:
        for stream_id in streams:
            client.ask(stream_id, call)
            client.h2.send_data(stream_id, HEAD)
        count = await send_all_that_is_allowed(client, streams)
    assert LARGE_BYTES < count <= LARGE_BYTES + len(streams) * FIRST_BYTES


async def test_what_waits_for_room_has_its_turn() -> None:
    data = [os.urandom(4 * SIZE) for _ in range(10)]
    assert sum(map(len, data)) > LARGE_BYTES
    async with echoing() as this, this.channel() as channel:
        one = channel.unary_unary("/echo.Echo/One")
        assert await asyncio.gather(*(one(each) for each in data)) == data


async def test_a_call_that_is_given_up_leaves_its_room_to_others() -> None:
    streams = range(1, 81, 2)
    async with echoing() as this, connected(this.port) as client:
        for stream_id in streams:
            client.ask(stream_id, "One")
            client.h2.send_data(stream_id, HEAD)
        assert await send_all_that_is_allowed(client, streams) < len(streams) * (SIZE - 1)
        for stream_id in streams:
            client.h2.reset_stream(stream_id)
        client.ask(81, "One")
        client.h2.send_data(81, b"\0" + MOST_BYTES.to_bytes(4, "big"))
        assert (await client.hear(events.WindowUpdated, 81)).delta == MOST_BYTES + 5 - FIRST_BYTES


async def test_a_stream_of_large_messages_needs_the_room_of_one() -> None:
    data = [os.urandom(SIZE) for _ in range(40)]
    assert sum(map(len, data)) > LARGE_BYTES
    async with echoing() as this, this.channel() as channel:
        call = channel.stream_stream("/echo.Echo/All")(iter(data))
        assert [part async for part in call] == data


async def test_compressed_messages_of_a_stream_are_read() -> None:
    data = [bytes(3 * SIZE), b"x", bytes(3 * SIZE)]
    async with echoing() as this, this.channel() as channel:
        call = channel.stream_stream("/echo.Echo/All")(iter(data), compression=grpc.Compression.Gzip)
        assert [part async for part in call] == data


async def test_the_connection_gets_back_what_its_calls_took() -> None:
    streams = range(1, 9, 2)
    async with echoing() as this, connected(this.port) as client:
        await client.hear(events.SettingsAcknowledged)
        room = client.h2.outbound_flow_control_window
        for stream_id in streams:
            client.ask(stream_id, "One")
            client.h2.send_data(stream_id, HEAD)
        count = await send_all_that_is_allowed(client, streams)
        assert room - client.h2.outbound_flow_control_window < UPDATE_BYTES < count
