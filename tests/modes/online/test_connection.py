"""Clients that are slow, half open, or hostile, over raw sockets."""

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from mlops_kit.modes.online.http.connection import Connection
from mlops_kit.modes.online.http.messages import Response
from tests.bundles import NAMES, write_bundle
from tests.modes.online.server import RunningServer, serving

ROW = json.dumps({"inputs": dict.fromkeys(NAMES, 1.0)}).encode()
PING = b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
CHUNKED = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
WAIT_S = 20


def post(body: bytes = ROW, headers: bytes = b"") -> bytes:
    head = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    return head % len(body) + headers + b"\r\n" + body


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    bundle = write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
    with serving(bundle, "--read-timeout-s", "1", "--max-body", "8MiB") as server:
        yield server


@contextmanager
def connected(server: RunningServer) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=WAIT_S) as connection:
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """Until the server closes, in whatever way."""
    received = b""
    try:
        while part := connection.recv(1 << 20):
            received += part
    except ConnectionResetError:
        pass
    return received


def ask(server: RunningServer, data: bytes) -> bytes:
    with connected(server) as connection:
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return read_all(connection)


def is_answering(server: RunningServer) -> bool:
    with server.client() as client:
        return client.post("/invocations", content=ROW, headers={"content-type": "application/json"}).is_success


def send_slowly(connection: socket.socket, parts: Iterator[bytes] | list[bytes]) -> bool:
    """Whether the server ended it."""
    deadline = time.monotonic() + WAIT_S
    try:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.05)
            if time.monotonic() > deadline:
                return False
    except (BrokenPipeError, ConnectionResetError):
        return True
    return read_all(connection) is not None


def repeated(part: bytes, *first: bytes) -> Callable[[], Iterator[bytes]]:
    """`first`, and then the same for ever."""

    def parts() -> Iterator[bytes]:
        yield from first
        while True:
            yield part

    return parts


SLOW: dict[str, Callable[[], Iterator[bytes]]] = {
    "nothing": lambda: iter([]),
    "half a head": lambda: iter([b"GET /ping HT"]),
    "half a head after a request": lambda: iter([PING, b"GET /ping HT"]),
    "a head, byte by byte": repeated(b"x", b"GET /ping HTTP/1.1\r\nx: "),
    "empty lines": repeated(b"\r\n"),
    "empty lines after a request": repeated(b"\r\n", PING),
    "a body that nobody wants": repeated(
        b"x", b"GET /ping HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
    ),
    "the rest of what is too large": repeated(
        b"x", b"POST /invocations HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n"
    ),
    "trailers": repeated(b"x: y\r\n", CHUNKED + b"2\r\n{}\r\n0\r\n"),
}


@pytest.mark.parametrize("parts", SLOW.values(), ids=SLOW)
def test_a_client_that_never_finishes_is_cut(server: RunningServer, parts: Callable[[], Iterator[bytes]]) -> None:
    with connected(server) as connection:
        assert send_slowly(connection, parts())


def sockets_of(server: RunningServer) -> int:
    folder = Path(f"/proc/{server.workers[0]}/fd")
    links = [str(path.readlink()) for path in folder.iterdir() if path.is_symlink()]
    return sum(link.startswith("socket:") for link in links)


def await_sockets(server: RunningServer, is_enough: Callable[[int], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_enough(sockets_of(server)):
        assert time.monotonic() < deadline, "the server keeps a connection"
        time.sleep(0.02)


def test_a_client_that_does_not_read_is_cut(server: RunningServer) -> None:
    before, requests = sockets_of(server), 6000
    with connected(server) as connection:
        await_sockets(server, lambda open_now: open_now > before)
        connection.sendall(b"GET /v2/models/tiny HTTP/1.1\r\nhost: x\r\n\r\n" * requests)
        await_sockets(server, lambda open_now: open_now <= before)
        assert read_all(connection).count(b"HTTP/1.1 200") < requests


def test_a_client_may_think_between_requests(server: RunningServer) -> None:
    with connected(server) as connection:
        connection.sendall(PING)
        answer = b""
        while not answer.endswith(b"\r\n\r\n\n"):
            answer += connection.recv(1000)
        time.sleep(2.5)  # longer than it might take to send a request
        connection.sendall(LAST)
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_their_order(server: RunningServer) -> None:
    rows = [json.dumps({"inputs": dict.fromkeys(NAMES, 0) | {"x1": number}}).encode() for number in range(50)]
    answers = ask(server, b"".join(map(post, rows)) + LAST)
    assert re.findall(rb'"prediction":([0-9.]+)', answers) == [b"%d.0" % number for number in range(50)]


UPGRADES = {
    "HTTP/2": b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAA\r\n",
    "a WebSocket": b"connection: upgrade\r\nupgrade: websocket\r\n",
}


@pytest.mark.parametrize("headers", UPGRADES.values(), ids=UPGRADES)
def test_who_offers_another_protocol_is_answered_in_this_one(server: RunningServer, headers: bytes) -> None:
    for cut in (-1, -10):  # the body comes with the head, or after it
        data = post(ROW, headers)
        with connected(server) as connection:
            connection.sendall(data[:cut])
            connection.sendall(data[cut:] + post(ROW, headers) + LAST)
            answers = read_all(connection)
        assert re.findall(rb'"prediction":([0-9.]+)', answers) == [b"3160.0"] * 2
        assert answers.count(b"HTTP/1.1 200") == 3


def test_many_offers_at_once_are_answered(server: RunningServer) -> None:
    requests, offering = 2000, PING.replace(b"\r\n\r\n", b"\r\n" + UPGRADES["a WebSocket"] + b"\r\n")
    answers = ask(server, offering * requests + LAST)
    assert answers.count(b"HTTP/1.1 200") == requests + 1
    assert is_answering(server)


def posted(headers: bytes, rest: bytes = b"hello") -> bytes:
    return b"POST /invocations HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n\r\n" + rest


NO_HTTP = {
    "two lengths": posted(b"content-length: 5\r\ncontent-length: 6"),
    "a list of lengths": posted(b"content-length: 5, 5"),
    "a length and chunks": posted(b"content-length: 5\r\ntransfer-encoding: chunked", b"0\r\n\r\n" + PING),
    "chunks and a length": posted(b"transfer-encoding: chunked\r\ncontent-length: 5", b"0\r\n\r\n" + PING),
    "an unknown coding": posted(b"transfer-encoding: xchunked", b"0\r\n\r\n" + PING),
    "a coding after chunks": posted(b"transfer-encoding: chunked, identity", b"0\r\n\r\n" + PING),
    "a negative length": posted(b"content-length: -5"),
    "a length with a sign": posted(b"content-length: +5"),
    "a length of 2^80": posted(b"content-length: 1208925819614629174706176"),
    "a space before a colon": posted(b"content-length : 5"),
    "a folded header": posted(b"x: a\r\n b\r\ncontent-length: 5"),
    "lines without CR": b"GET /ping HTTP/1.1\nhost: x\n\n",
    "a negative chunk": CHUNKED + b"-1\r\nhello\r\n",
    "a chunk of 2^68": CHUNKED + b"fffffffffffffffff\r\nhello\r\n",
    "a chunk without an end": CHUNKED + b"2\r\n{}{}\r\n0\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "NUL": b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
    "no ASCII": b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "a proxy's request": b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
}


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP)
def test_what_is_no_clear_request_is_refused_and_nothing_after_it_is_answered(
    server: RunningServer, data: bytes
) -> None:
    answer = ask(server, data)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
    document = json.loads(body)
    assert document["error"] == document["message"]
    assert is_answering(server)


FLOODS = {
    "headers": b"GET /ping HTTP/1.1\r\n" + b"a: b\r\n" * 1_000_000,
    "a header": b"GET /ping HTTP/1.1\r\na: " + b"x" * 8_000_000,
    "a URL": b"GET /" + b"x" * 8_000_000,
    "trailers": CHUNKED + b"0\r\n" + b"a: b\r\n" * 1_000_000,
    "a trailer": CHUNKED + b"0\r\na: " + b"x" * 8_000_000,
    "a chunk's extension": CHUNKED + b"2;" + b"x" * 8_000_000,
    "empty lines": b"\r\n" * 4_000_000,
}


def memory_of(server: RunningServer) -> int:
    status = Path(f"/proc/{server.workers[0]}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) * 1024


@pytest.mark.parametrize("data", FLOODS.values(), ids=FLOODS)
def test_a_flood_is_not_kept_in_memory(server: RunningServer, data: bytes) -> None:
    before = memory_of(server)
    for _ in range(3):
        answer = ask(server, data)
        assert not answer or answer.startswith(b"HTTP/1.1 431")
    assert memory_of(server) - before < 6_000_000
    assert is_answering(server)


def test_a_million_chunks_of_a_byte_are_a_body(server: RunningServer) -> None:
    body = ROW + b" " * (1_000_000 - len(ROW))
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    answers = ask(server, CHUNKED + chunks + b"0\r\n\r\n" + LAST)
    # A busy machine takes too long.
    assert b"3160.0" in answers or answers.startswith((b"HTTP/1.1 408", b"HTTP/1.1 504"))
    assert is_answering(server)


class Door:
    """An application that answers once it may, and is its own gate, with room for everybody."""

    def __init__(self, make_answer: Callable[[], Response]) -> None:
        self.make_answer = make_answer
        self.may_answer = asyncio.Event()
        self.gate = self

    def has_room(self, _url: bytes) -> bool:
        return True

    async def answer(self, *_: object) -> Response:
        await self.may_answer.wait()
        return self.make_answer()


@asynccontextmanager
async def in_process(door: Any, asked: bytes) -> AsyncIterator[tuple[Connection, socket.socket]]:
    """A connection that was asked so, and its client's end. Little fits between them."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection = Connection(door, set(), uvicorn.Config(door, log_config=None), ServerState(), {})
    with theirs:
        theirs.settimeout(WAIT_S)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
        theirs.sendall(asked)
        await until(lambda: bool(connection.tasks))
        yield connection, theirs
        connection.cut()


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_true():
            await asyncio.sleep(0.01)


ON_UVLOOP = pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"])


@ON_UVLOOP
@pytest.mark.anyio
async def test_who_does_not_read_a_last_answer_is_waited_for_from_then_on() -> None:
    door = Door(lambda: Response(200, b"x" * 40_000))
    async with in_process(door, LAST + PING) as (connection, _):
        before = time.monotonic()
        door.may_answer.set()
        await until(lambda: not connection.tasks)
        assert not connection.is_stuck(before)
        assert connection.is_stuck(time.monotonic())


@ON_UVLOOP
@pytest.mark.anyio
async def test_a_request_that_cannot_be_answered_ends_its_connection() -> None:
    def fail() -> Response:
        raise ZeroDivisionError

    door = Door(fail)
    async with in_process(door, PING) as (connection, client):
        tasks = [*connection.tasks]
        door.may_answer.set()
        with pytest.raises(ZeroDivisionError):
            await asyncio.gather(*tasks)
        assert await asyncio.to_thread(read_all, client) == b""


@ON_UVLOOP
@pytest.mark.anyio
async def test_a_connection_that_is_cut_while_several_requests_wait_is_not_written_to() -> None:
    door = Door(lambda: Response(200, b"x"))
    async with in_process(door, PING * 2) as (connection, _):
        tasks = [*connection.tasks]
        connection.cut()
        await until(lambda: connection not in connection.connections)
        door.may_answer.set()
        await asyncio.gather(*tasks)
