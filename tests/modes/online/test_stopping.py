"""The end of a server: who has come is answered, and who waits too long is told so."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
import trustme
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.bundles import slow_graph, write_bundle
from tests.cli.mlkit import COMMAND
from tests.modes.online.asking import BODY, PATIENCE_S, kill, metrics_of, until
from tests.modes.online.server import RunningServer, serving

ROW = json.dumps(BODY).encode()
HEAD = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def tls_words(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    folder = tmp_path_factory.mktemp("certificates")
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(folder / "certificate.pem", append=True)
    return "--tls-cert", folder / "certificate.pem", "--tls-key", folder / "key.pem"


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def await_draining(server: RunningServer) -> None:
    """Until it says that it drains."""
    assert server.process.stderr is not None
    while "draining" not in server.process.stderr.readline():
        assert server.process.poll() is None


@contextmanager
def callers(server: RunningServer, *, is_persistent: bool) -> Iterator[Counter[str]]:
    """Four that ask until nobody listens any more, each request over a connection of its own or all over one."""
    outcomes: Counter[str] = Counter()
    encrypted = ssl._create_unverified_context() if server.url.startswith("https") else None

    def ask() -> None:
        connection = None
        while True:
            try:
                connection = connection or _connection(server, encrypted)
                connection.request("POST", "/invocations", ROW, JSON)
                answer = connection.getresponse()
                answer.read()
                outcomes[str(answer.status)] += 1
            except ConnectionRefusedError:
                return
            except (OSError, http.client.HTTPException) as error:
                outcomes[type(error).__name__] += 1
                return
            if answer.will_close or not is_persistent:
                connection.close()
                connection = None

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: outcomes["200"] >= 20)
    yield outcomes
    for thread in threads:
        thread.join(PATIENCE_S)


def _connection(server: RunningServer, encrypted: ssl.SSLContext | None) -> http.client.HTTPConnection:
    host, port = server.address
    if encrypted is None:
        return http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    return http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=encrypted)


@pytest.mark.parametrize(("is_encrypted", "is_persistent"), [(False, False), (False, True), (True, False)])
def test_whoever_connects_before_the_end_is_answered(
    bundle: Path, tls_words: tuple[object, ...], is_encrypted: bool, is_persistent: bool
) -> None:
    with serving(bundle, "--workers", 2, *(tls_words if is_encrypted else ())) as server:
        with callers(server, is_persistent=is_persistent) as outcomes:
            assert server.stop()[0] == 0
        assert set(outcomes) == {"200"}


def test_whoever_asks_over_grpc_before_the_end_is_answered(bundle: Path) -> None:
    with serving(bundle, "--workers", 2) as server:
        outcomes: Counter[str] = Counter()

        def ask() -> None:
            while True:
                with grpc.insecure_channel(
                    server.grpc_address, [("grpc.use_local_subchannel_pool", 1)]
                ) as channel:
                    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                    try:
                        stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=PATIENCE_S)
                    except grpc.RpcError as error:
                        said = error.details()
                        outcomes["refused" if "Connection refused" in said else said] += 1
                        return
                outcomes["answered"] += 1

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: outcomes["answered"] >= 20)
        assert server.stop()[0] == 0
        for thread in threads:
            thread.join(PATIENCE_S)
        assert set(outcomes) == {"answered", "refused"}


def test_whoever_waits_for_a_new_worker_is_told_that_the_server_stops(bundle: Path) -> None:
    with serving(bundle) as server:
        kill(server, server.workers[0])
        with socket.create_connection(server.address, PATIENCE_S) as connection:
            connection.sendall(HEAD % (b"/invocations", len(ROW)) + ROW)
            until(lambda: len(server.workers) > 0)
            code, _ = server.stop()
            assert (code, read_answer(connection)[0]) == (0, 503)


def test_with_a_delay_it_answers_on_and_is_not_ready(bundle: Path) -> None:
    with serving(bundle, "--stop-delay-s", "2") as server:
        server.process.send_signal(signal.SIGTERM)
        await_draining(server)
        until(lambda: httpx.get(f"{server.url}/v2/health/ready").status_code == 503)
        assert httpx.post(f"{server.url}/invocations", json=BODY).status_code == 200
        assert server.process.wait(PATIENCE_S) == 0


def test_what_was_asked_in_one_go_is_answered_to_the_last(bundle: Path) -> None:
    with serving(bundle, "--max-delay-ms", "1000", "--timeout-ms", "20000") as server:
        with socket.create_connection(server.address, PATIENCE_S) as connection:
            connection.sendall((HEAD % (b"/invocations", len(ROW)) + ROW) * 2)
            until(lambda: metrics_of(server)["mlkit_queued_requests", "tiny"] == 1)
            server.process.send_signal(signal.SIGTERM)
            answers = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert (answers.count(b"HTTP/1.1 200"), answers.count(b"connection: close")) == (2, 1)
        assert server.stop()[0] == 0


@pytest.mark.parametrize(("path", "field"), [("/invocations", "message"), ("/v2/models/tiny/infer", "error")])
def test_a_body_that_does_not_come_before_the_end_is_told_so(bundle: Path, path: str, field: str) -> None:
    with serving(bundle, "--drain-s", "0.5") as server:
        with socket.create_connection(server.address, PATIENCE_S) as connection:
            connection.sendall(HEAD % (path.encode(), 100) + b"{")
            until(lambda: httpx.get(f"{server.url}/ping").is_success)
            code, said = server.stop()
            status, headers, body = read_answer(connection)
        assert (code, status, headers["connection"]) == (0, 503, "close")
        assert json.loads(body)[field] == "the server stops"
        assert "ASGI" not in said


def test_a_second_signal_leaves_no_more_time(bundle: Path) -> None:
    words = ("--drain-s", "3000", "--read-timeout-s", "3000")
    with serving(bundle, *words) as server, socket.create_connection(server.address, PATIENCE_S) as connection:
        connection.sendall(HEAD % (b"/invocations", 100) + b"{")
        until(lambda: httpx.get(f"{server.url}/ping").is_success)
        server.process.send_signal(signal.SIGTERM)
        await_draining(server)
        assert server.stop()[0] == 0
        assert read_answer(connection)[0] == 503


def test_a_terminal_that_is_closed_drains(bundle: Path) -> None:
    with serving(bundle) as server:
        server.process.send_signal(signal.SIGHUP)
        await_draining(server)
        assert server.process.wait(PATIENCE_S) == 0


def test_who_hangs_up_is_not_heard_under_nohup(bundle: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with serving(bundle) as server:
            server.process.send_signal(signal.SIGHUP)
            assert httpx.get(f"{server.url}/ping").is_success
            assert server.stop()[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_before_it_is_ready_interrupts_it(tmp_path: Path) -> None:
    slow = write_bundle(tmp_path / "slow", slow_graph())
    command = [*COMMAND, "serve", str(slow), "--port", "0", "--grpc-port", "0", "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    _, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, "Traceback" in said) == (130, False), said
    assert said.splitlines()[-1] == "interrupted"


def test_a_deadline_begins_when_the_request_is_there(bundle: Path) -> None:
    head = HEAD % (b"/invocations", len(ROW))
    with serving(bundle, "--timeout-ms", "400") as server:
        for headers, expected in ((b"", 200), (b"x-timeout-ms: 300\r\n", 504)):
            with socket.create_connection(server.address, PATIENCE_S) as connection:
                connection.sendall(head[:-2] + headers + b"\r\n" + ROW[:-1])
                threading.Event().wait(0.6)  # longer than the server has for it
                connection.sendall(ROW[-1:])
                assert read_answer(connection)[0] == expected
