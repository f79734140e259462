"""Who is let in: keys from files, TLS, and what is warned of."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from tritonclient.grpc import service_pb2, service_pb2_grpc

from mlops_kit.errors import ForbiddenError, UnauthorizedError, UsageError
from mlops_kit.modes.online.exposure import exposures
from mlops_kit.modes.online.keys import Keys, read_keys
from mlops_kit.modes.online.tls import Tls
from tests.bundles import NAMES, write_bundle
from tests.cli.mlkit import mlkit
from tests.modes.online.server import RunningServer, serving

KEY, OTHER_KEY, ADMIN_KEY = "k" * 16, "another-key-of-24-letters", "an-admin-key-of-this-server"
ROW = {"inputs": dict.fromkeys(NAMES, 1.0)}


def secret(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The authority's, the server's, and the server's key."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(folder / "certificate.pem", append=True)
    return folder / "authority.pem", folder / "certificate.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def server(
    bundle: Path, certificate: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """With keys and a certificate."""
    folder = tmp_path_factory.mktemp("keys")
    keys = secret(folder / "keys", f"# for the tests\n\n{KEY}\n  {OTHER_KEY}  \n")
    admin_keys = secret(folder / "admin", ADMIN_KEY)
    words = ("--api-key-file", keys, "--admin-key-file", admin_keys)
    with serving(bundle, *words, "--tls-cert", certificate[1], "--tls-key", certificate[2]) as server:
        yield server


@pytest.fixture
def client(server: RunningServer, certificate: tuple[Path, Path, Path]) -> Iterator[httpx.Client]:
    with server.client(verify=ssl.create_default_context(cafile=str(certificate[0]))) as client:
        yield client


LET_IN: dict[str, dict[str, str]] = {
    "a bearer": {"authorization": f"Bearer {KEY}"},
    "a bearer, in small letters": {"authorization": f"bearer {OTHER_KEY}"},
    "a header of its own": {"x-api-key": KEY},
    "an admin": {"x-api-key": ADMIN_KEY},
}


def test_a_wrong_key_is_told_from_none(client: httpx.Client) -> None:
    wrong = client.post("/invocations", json=ROW, headers={"x-api-key": "wrong"})
    assert "not known" in wrong.json()["message"]
    assert "a key is needed" in client.post("/invocations", json=ROW).json()["message"]


@pytest.mark.parametrize("headers", LET_IN.values(), ids=LET_IN)
def test_whoever_has_a_key_is_let_in(client: httpx.Client, headers: dict[str, str]) -> None:
    assert client.post("/invocations", json=ROW, headers=headers).status_code == 200


KEPT_OUT: dict[str, dict[str, str]] = {
    "no key": {},
    "a wrong key": {"authorization": f"Bearer {KEY}x"},
    "a part of a key": {"x-api-key": KEY[:-1]},
    "another scheme": {"authorization": f"Basic {KEY}"},
    "only the scheme": {"authorization": "Bearer"},
    "an empty key": {"x-api-key": ""},
}


@pytest.mark.parametrize("headers", KEPT_OUT.values(), ids=KEPT_OUT)
def test_others_are_told_in_the_protocols_form_what_to_send(client: httpx.Client, headers: dict[str, str]) -> None:
    for path, field in (("/invocations", "message"), ("/v2/models/tiny/infer", "error")):
        answer = client.post(path, json=ROW, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "Authorization: Bearer" in answer.json()[field]
        assert KEY not in answer.text


def test_health_is_open_and_all_else_is_not(client: httpx.Client) -> None:
    for path in ("/ping", "/health", "/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready"):
        assert client.get(path).status_code == 200, path
    for path in ("/v2", "/version", "/v2/models/tiny", "/v2/models/tiny/stats", "/metrics", "/v2/models/ready"):
        assert client.get(path).status_code == 401, path


def test_grpc_has_the_same_certificate_and_keys(
    server: RunningServer, certificate: tuple[Path, Path, Path]
) -> None:
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    with grpc.secure_channel(server.grpc_address, credentials) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        asked = service_pb2.ServerMetadataRequest()
        assert stub.ServerMetadata(asked, metadata=(("x-api-key", KEY),)).name == "mlkit"
        with pytest.raises(grpc.RpcError) as caught:
            stub.ServerMetadata(asked)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_old_versions_of_tls_are_refused(certificate: tuple[Path, Path, Path]) -> None:
    assert Tls(certificate[1], certificate[2]).context().minimum_version == ssl.TLSVersion.TLSv1_2


def test_admin_actions_need_an_admin_key() -> None:
    keys = Keys((KEY.encode(),), (ADMIN_KEY.encode(),))
    keys.check_admin(f"Bearer {ADMIN_KEY}".encode())
    with pytest.raises(ForbiddenError, match="need an admin key"):
        keys.check_admin(f"Bearer {KEY}".encode())
    with pytest.raises(UnauthorizedError):
        keys.check_admin(b"Bearer unknown")


def test_without_an_admin_key_nobody_administers_and_everybody_predicts() -> None:
    Keys().check(b"")
    with pytest.raises(ForbiddenError, match="--admin-key-file"):
        Keys().check_admin(b"")
    assert KEY not in repr(Keys((KEY.encode(),)))


BAD_FILES = {
    "empty": ("# nothing\n\n", "no key in it"),
    "short": (f"{KEY}\nshort\n", "line 2 is no key"),
    "two words": (f"{KEY} {KEY}\n", "line 1 is no key"),
    "not ASCII": ("schlüsselschlüssel\n", "line 1 is no key"),
}


@pytest.mark.parametrize(("text", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_files_that_hold_no_good_keys_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        read_keys(secret(tmp_path / "keys", text))
    assert not [word for word in text.split() if word in str(error.value)]


def test_a_file_that_others_can_read_is_warned_of(tmp_path: Path, bundle: Path) -> None:
    path = secret(tmp_path / "keys", KEY)
    path.chmod(0o644)
    with serving(bundle, "--api-key-file", path) as server:
        _, said = server.stop()
    assert "other users of this machine can read" in said
    assert KEY not in said


TLS = Tls(Path(), Path())
OPEN, PLAIN = "--api-key-file", "unencrypted"


@pytest.mark.parametrize(
    ("address", "keys", "tls", "warnings"),
    [
        ("127.0.0.1", Keys(), None, []),
        ("::1", Keys(), None, []),
        ("0.0.0.0", Keys(), None, [OPEN, "rows and predictions travel .* unencrypted"]),
        ("::", Keys(), TLS, [OPEN]),
        ("192.168.1.1", Keys((b"key",)), None, [PLAIN]),
        ("192.168.1.1", Keys(admin_keys=(b"key",)), None, [OPEN, PLAIN]),
        ("192.168.1.1", Keys(admin_keys=(b"key",)), TLS, [OPEN]),
        ("fe80::1%eth0", Keys((b"key",)), TLS, []),
    ],
)
def test_what_others_can_reach_is_warned_of(
    address: str, keys: Keys, tls: Tls | None, warnings: list[str]
) -> None:
    found = exposures(address, keys, tls)
    assert len(found) == len(warnings)
    assert all(re.search(warning, text) for warning, text in zip(warnings, found, strict=True))


def encrypted(tmp_path: Path, key: Path) -> Path:
    from cryptography.hazmat.primitives import serialization as forms

    loaded = forms.load_pem_private_key(key.read_bytes(), None)
    how = forms.BestAvailableEncryption(b"password")
    path = tmp_path / "encrypted.pem"
    path.write_bytes(loaded.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, how))
    return path


def other_key(tmp_path: Path, _key: Path) -> Path:
    path = tmp_path / "other.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(path)
    return path


BAD_KEYS: dict[str, tuple[Any, str]] = {
    "missing": (lambda folder, key: folder / "nothing", "cannot be read"),
    "of another": (other_key, "is not the key of"),
    "encrypted": (encrypted, "is encrypted"),
    "no PEM": (lambda folder, key: secret(folder / "text", "key"), "no certificate and its key"),
}


@pytest.mark.parametrize(("make", "message"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_certificates_without_their_key_are_refused(
    tmp_path: Path, certificate: tuple[Path, Path, Path], make: Any, message: str
) -> None:
    tls = Tls(certificate[1], make(tmp_path, certificate[2]))
    with pytest.raises(UsageError, match=message):
        tls.context()


def test_a_certificate_alone_is_refused(bundle: Path, certificate: tuple[Path, Path, Path]) -> None:
    done = mlkit("serve", bundle, "--tls-cert", certificate[1])
    assert done.returncode == 2
    assert re.search("--tls-key is missing", done.stderr)
