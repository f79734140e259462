"""Clients that owe the server their next step, and those that only take their time."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from grpc import StatusCode
from jh2 import events
from jh2.errors import ErrorCodes

from mlops_kit.modes.online.grpc.http2.framing import frame
from tests.modes.online.grpc.echoing import MOST_BYTES, WAIT_S, Client, Echoing, connected, echoing

pytestmark = pytest.mark.anyio

LIMIT_S, LONGER_S = 0.3, 1.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GREETING = PREFACE + b"\0\0\0\4\0\0\0\0\0"
UNFINISHED = {
    "nothing": b"",
    "half a greeting": PREFACE[:10],
    "a greeting without settings": PREFACE,
    "half a head of a frame": GREETING + b"\0\0\x08\x06",
    "half a frame": GREETING + b"\0\0\x08\x06\0\0\0\0\0half",
    "half a frame after a whole one": GREETING + b"\0\0\x08\x06\0\0\0\0\0complete" + b"\0\0\x08\x06\0\0\0\0\0half",
    "half a block of headers": GREETING + b"\0\0\1\1\0\0\0\0\1\x82",
}


async def until_closed(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(2**16), WAIT_S):
            pass


@pytest.mark.parametrize("data", UNFINISHED.values(), ids=UNFINISHED)
async def test_a_client_that_does_not_finish_what_it_began_is_cut(data: bytes) -> None:
    async with echoing(LIMIT_S) as this:
        reader, writer = await asyncio.open_connection("127.0.0.1", this.port)
        writer.write(data)
        await until_closed(reader)
        writer.close()


async def test_drops_of_a_frame_do_not_keep_a_connection() -> None:
    async with echoing(LIMIT_S) as this:
        reader, writer = await asyncio.open_connection("127.0.0.1", this.port)
        writer.write(GREETING + b"\0\xff\0\x06\0\0\0\0\0")
        closed = asyncio.create_task(until_closed(reader))
        while not closed.done():
            writer.write(b"x")
            await asyncio.sleep(0.05)
        await closed
        writer.close()


async def test_a_client_that_always_is_in_the_middle_of_a_frame_but_goes_on_may_stay() -> None:
    ping = b"\0\0\x08\x06\0\0\0\0\0complete"
    async with echoing(LONGER_S) as this:
        reader, writer = await asyncio.open_connection("127.0.0.1", this.port)
        writer.write(GREETING + ping[:12])
        for _ in range(8):
            await asyncio.sleep(LONGER_S / 5)
            writer.write(ping[12:] + ping[:12])
        writer.write(ping[12:-1] + b"!")
        await asyncio.wait_for(reader.readuntil(b"complet!"), WAIT_S)
        writer.close()


async def test_a_client_that_has_asked_for_nothing_may_stay() -> None:
    async with echoing(LIMIT_S) as this, connected(this.port) as client:
        await client.hear(events.SettingsAcknowledged)
        reader, writer = await asyncio.open_connection("127.0.0.1", this.port)
        await until_closed(reader)
        writer.close()
        client.ask(1, "One")
        client.h2.send_data(1, frame(b"still here"), end_stream=True)
        assert (await client.hear(events.DataReceived)).data == frame(b"still here")


@pytest.mark.parametrize("call", ["One", "All"])
async def test_half_a_message_ends_its_call_and_no_other(call: str) -> None:
    async with echoing(LIMIT_S) as this, connected(this.port) as client:
        client.ask(1, call)
        client.h2.send_data(1, b"\0\0\0\0\7half")
        answer = await client.hear(events.ResponseReceived, 1)
        assert dict(answer.headers)[b"grpc-status"] == b"%d" % StatusCode.DEADLINE_EXCEEDED.value[0]
        assert this.doorkeeper.failures == [(f"/echo.Echo/{call}".encode(), 408)]
        client.ask(3, "One")
        client.h2.send_data(3, frame(b"x"), end_stream=True)
        assert (await client.hear(events.DataReceived, 3)).data == frame(b"x")


async def ask_for_much(client: Client) -> None:
    client.ask(1, "Much")
    client.h2.send_data(1, frame(b""), end_stream=True)
    await client.hear(events.DataReceived)


async def test_a_client_that_never_gives_the_connection_room_is_cut() -> None:
    async with echoing(LIMIT_S) as this, connected(this.port) as client:
        await ask_for_much(client)
        await until_closed(client.reader)


async def test_an_answer_that_is_not_read_ends_and_the_connection_goes_on() -> None:
    async with echoing(LIMIT_S) as this, connected(this.port) as client:
        client.h2.increment_flow_control_window(MOST_BYTES)
        await ask_for_much(client)
        assert (await client.hear(events.StreamReset)).error_code == ErrorCodes.ENHANCE_YOUR_CALM
        client.ask(3, "One")
        client.h2.send_data(3, frame(b"x"), end_stream=True)
        assert (await client.hear(events.DataReceived, 3)).data == frame(b"x")


async def test_a_client_that_reads_slowly_gets_all_of_its_answer() -> None:
    async with echoing(LONGER_S) as this, connected(this.port) as client:
        client.h2.increment_flow_control_window(MOST_BYTES)
        await ask_for_much(client)
        for _ in range(8):  # each of them within the limit, all of them not
            await asyncio.sleep(LONGER_S / 5)
            client.h2.increment_flow_control_window(2**16, 1)
            client.tell()
        client.h2.increment_flow_control_window(MOST_BYTES, 1)
        assert await client.hear(events.StreamEnded, 1)


async def until_gone(this: Echoing) -> None:
    async with asyncio.timeout(WAIT_S):
        while this.server.connections:
            await asyncio.sleep(0.02)


async def test_a_client_that_does_not_read_its_socket_is_cut() -> None:
    async with echoing(LIMIT_S) as this, connected(this.port) as client:
        client.h2.increment_flow_control_window(2**30)
        client.h2.update_settings({4: 2**30})  # the room of every call
        for stream_id in range(1, 17, 2):
            client.ask(stream_id, "Much")
            client.h2.send_data(stream_id, frame(b""), end_stream=True)
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        client.tell()
        await this.begun.wait()
        await until_gone(this)


async def test_what_is_refused_does_not_wait_for_the_message() -> None:
    async with echoing() as this, connected(this.port) as client:
        client.ask(1, "Guarded")
        answer: Any = await client.hear(events.ResponseReceived)
        assert dict(answer.headers)[b"grpc-status"] == b"%d" % StatusCode.UNAUTHENTICATED.value[0]
        assert this.doorkeeper.failures == [(b"/echo.Echo/Guarded", 401)]
