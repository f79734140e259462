"""What people are told when a server refuses, is none, or keeps something else under the table's name."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from mlops_kit.errors import MlkitError, StoreError, UsageError
from mlops_kit.tables.interface import Table
from mlops_kit.tables.redis.failures import explain
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.ports import free_port
from tests.servers.proxy import run_proxy
from tests.servers.valkey import ValkeyServer, run_valkey
from tests.tables.generations import make_frame, write_generation

PASSWORD = "s3cret"


@pytest.fixture
def server(valkey_server: ValkeyServer) -> ValkeyServer:
    """With nothing in it."""
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server


def open_at(address: str, password: str = "") -> Table:
    return open_table(resolve_address(address), password)


def publish_at(address: str, folder: Path, password: str = "") -> float:
    """Publish, and return a prediction."""
    with closing(open_at(address, password)) as table:
        table.publish(write_generation(folder, make_frame(8)), 2, lambda rows: None)
        found = table.get(["7"])
        assert found is not None
        return float(found.values["prediction"])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server with a password, and a user `reader` that may only read."""
    reader = f"user reader on >{PASSWORD} ~eta:* +@read +@connection"
    settings = ("--requirepass", PASSWORD, *("--" + reader).split())
    with run_valkey(tmp_path_factory.mktemp("guarded"), *settings) as server:
        yield server


def test_the_password_is_taken_from_the_argument(guarded: ValkeyServer, tmp_path: Path) -> None:
    assert publish_at(guarded.url(), tmp_path, PASSWORD) == 1.0


def test_the_password_is_taken_from_the_address(guarded: ValkeyServer, tmp_path: Path) -> None:
    assert publish_at(guarded.url(user=f"default:{PASSWORD}@"), tmp_path, "another") == 1.0


@pytest.mark.parametrize(("user", "password"), [("", ""), ("", "wr0ng"), ("nobody@", PASSWORD)])
def test_without_the_right_password_there_is_no_access(guarded: ValkeyServer, user: str, password: str) -> None:
    with pytest.raises(StoreError, match=r"no access.*user and password") as raised:
        open_at(guarded.url(user=user), password)
    if password:
        assert password not in str(raised.value)


def test_a_user_that_only_reads_can_look_up_and_not_publish(guarded: ValkeyServer, tmp_path: Path) -> None:
    publish_at(guarded.url(), tmp_path, PASSWORD)
    with closing(open_at(guarded.url(user="reader@"), PASSWORD)) as table:
        assert table.get(["7"])
    with pytest.raises(StoreError, match=r"no permission.*ACL SETUSER"):
        publish_at(guarded.url(user="reader@"), tmp_path, PASSWORD)


def test_a_replica_is_read_and_not_written(server: ValkeyServer, tmp_path: Path) -> None:
    publish_at(server.url(), tmp_path)
    with server.client() as client:
        client.config_set("repl-diskless-sync-delay", 0)
    with run_valkey(tmp_path, "--replicaof", "127.0.0.1", str(server.port)) as replica:
        with replica.client() as client:
            while not client.exists("eta:current"):
                time.sleep(0.01)
        with closing(open_at(replica.url())) as table:
            assert table.get(["7"])
        with pytest.raises(StoreError, match=r"replica.*primary"):
            publish_at(replica.url(), tmp_path)


def test_a_server_in_cluster_mode_is_refused(tmp_path: Path) -> None:
    settings = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with run_valkey(tmp_path, *settings) as server, pytest.raises(StoreError, match="part of a cluster"):
        publish_at(server.url(), tmp_path)


def test_a_cluster_of_one_server_is_refused(tmp_path: Path) -> None:
    with run_valkey(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        with server.client() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                time.sleep(0.01)
        with pytest.raises(StoreError, match="part of a cluster"):
            publish_at(server.url(), tmp_path)


def test_a_database_that_is_not_there_is_said(server: ValkeyServer) -> None:
    with pytest.raises(StoreError, match=r"no such database.*/0"):
        open_at(server.url(database=99))


@contextmanager
def listening(answer: bytes) -> Iterator[int]:
    """A port that answers every command with this."""

    def serve() -> None:
        with suppress(OSError), listener.accept()[0] as connection:
            while commands := connection.recv(65536):
                connection.sendall(answer * commands.count(b"*"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", r"no answer.*silent"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no Redis or Valkey server"),
        (b"-LOADING the dataset is loaded into memory\r\n", r"not ready.*in a moment"),
        (b"-MISCONF Errors writing to the AOF file: No space left on device\r\n", "cannot save"),
        (b"-ERR something new\r\n", "something new"),
    ],
)
def test_what_answers_otherwise_is_said_in_seconds(answer: bytes, said: str) -> None:
    started = time.monotonic()
    with listening(answer) as port, pytest.raises(StoreError, match=said):
        open_at(f"redis://127.0.0.1:{port}/0?table=eta")
    assert time.monotonic() - started < 10


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody vouches for but itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return certificate, key


@pytest.fixture
def tls_port(server: ValkeyServer, certificate: tuple[Path, Path]) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with run_proxy(server.port, context) as proxy:
        yield proxy.port


def test_tls_with_a_certificate_that_is_vouched_for(
    tls_port: int, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    address = f"rediss://127.0.0.1:{tls_port}/0?table=eta&ca={certificate[0]}"
    assert publish_at(address, tmp_path) == 1.0


def test_a_certificate_that_nobody_vouches_for_is_refused(tls_port: int) -> None:
    with pytest.raises(StoreError, match=r"not trusted.*&ca="):
        open_at(f"rediss://127.0.0.1:{tls_port}/0?table=eta")


def test_a_certificate_of_another_name_is_refused(tls_port: int, certificate: tuple[Path, Path]) -> None:
    with pytest.raises(StoreError, match="for another name"):
        open_at(f"rediss://localhost:{tls_port}/0?table=eta&ca={certificate[0]}")


def test_tls_to_a_server_without_it_is_said(server: ValkeyServer) -> None:
    with pytest.raises(StoreError, match="redis://"):
        open_at(server.url(scheme="rediss"))


def test_plain_text_to_a_server_with_tls_is_said(tls_port: int) -> None:
    with pytest.raises(StoreError, match="no connection"):
        open_at(f"redis://127.0.0.1:{tls_port}/0?table=eta")


def test_a_file_of_certificates_that_is_not_there_is_said(server: ValkeyServer) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        open_at(server.url("&ca=/nowhere.pem", scheme="rediss"))


FOREIGN = {
    "current is another text": ("SET", "eta:current", "yes"),
    "current is a list": ("RPUSH", "eta:current", "yes"),
    "generations is a text": ("SET", "eta:generations", "yes"),
    "generations is another hash": ("HSET", "eta:generations", "a", "1"),
}


@pytest.mark.parametrize("command", FOREIGN.values(), ids=FOREIGN)
def test_keys_that_something_else_wrote_are_left_alone(
    server: ValkeyServer, tmp_path: Path, command: tuple[str, ...]
) -> None:
    with server.client() as client:
        client.execute_command(*command)
        before = client.type(command[1])
        with pytest.raises(UsageError, match=r"in use by something else.*another \?table="):
            publish_at(server.url(), tmp_path)
        with closing(open_at(server.url())) as table:
            for use in (table.current, table.rollback, lambda: table.get(["7"])):
                with pytest.raises(UsageError):
                    use()
        assert (client.keys(), client.type(command[1])) == ([command[1]], before)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("redis://127.0.0.1:x/0?table=eta", "no host and port"),
        ("redis://127.0.0.1/zero?table=eta", "'zero' is no database"),
        ("redis://127.0.0.1/0?table=eta&grace=7", "did you mean 'grace_s'"),
        ("redis://127.0.0.1/0?table=eta&grace_s=-1", "write grace_s=3600"),
        ("redis://127.0.0.1/0?table=eta&eviction=no", "write eviction=accepted"),
        ("redis://127.0.0.1/0?table=eta&ca=x.pem", "write rediss://"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(address: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_at(address)


@pytest.mark.parametrize(
    "message",
    [
        "unknown command 'MSET', with args beginning with: 'eta:g:JFK' '{\"name\":\"JFK\"}'",
        "Command # 3 (SET eta:g:JFK JFK) of pipeline caused error: something is wrong",
    ],
)
def test_what_the_server_repeats_of_a_command_is_not_told(message: str) -> None:
    error: MlkitError = explain(resolve_address("redis://h/0?table=eta"), redis.ResponseError(message))
    assert isinstance(error, StoreError)
    assert "JFK" not in str(error)


@pytest.mark.parametrize("address", ["redis://127.0.0.1:1/0?table=eta", "redis://nowhere.invalid/0?table=eta"])
def test_a_server_that_is_not_there_is_said_with_its_address(address: str) -> None:
    with pytest.raises(StoreError, match=r"no connection.*check host and port"):
        open_at(address)
