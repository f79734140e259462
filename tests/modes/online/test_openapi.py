"""The server's description of itself, and whether the server keeps to it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

import mlops_kit
from mlops_kit.modes.online.golden_row import read_golden_row
from mlops_kit.modes.online.http.paths import is_open
from mlops_kit.modes.online.pages.model_view import ModelView
from mlops_kit.modes.online.pages.openapi.description import describe_api
from tests.modes.online.mixed_bundle import COLUMNS, GOLDEN_ROW, HOSTILE, write_mixed_bundle
from tests.modes.online.server import RunningServer, serving

CHECKS = """
not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
response_schema_conformance, unsupported_method
"""
# 503 and 504 are answers that a busy machine gives, and they are documented.
CONFIGURATION = '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503, 504]\n'


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixed_bundle(tmp_path_factory.mktemp("bundles") / "mixed")


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[RunningServer]:
    with serving(bundle) as server:
        yield server


@pytest.fixture
def description(server: RunningServer) -> dict[str, Any]:
    return describe(server)


def describe(server: RunningServer) -> dict[str, Any]:
    document: dict[str, Any] = httpx.get(f"{server.url}/openapi.json").json()
    return document


def test_the_description_is_openapi(description: dict[str, Any]) -> None:
    validate(description)
    assert description["openapi"].startswith("3.1.")


def test_where_keys_are_needed_every_operation_says_so(bundle: Path) -> None:
    loaded = mlops_kit.load(bundle).bundle
    assert loaded
    view = ModelView("m", "v", loaded.digest, 0.0, "", loaded.manifest.signature, read_golden_row(loaded))
    document = describe_api([view], "1", needs_key=True)
    validate(document)
    assert document["security"] == [{"key": []}]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert ("401" in operation["responses"]) is not is_open(path)
            assert (operation.get("security") == []) is is_open(path)


def test_models_of_any_name_are_described(bundle: Path) -> None:
    with serving(f"a b={bundle}", f"a_b={bundle}", f'"<{{x}}>&?#é={bundle}') as server:
        document = describe(server)
        validate(document)
        invoked = [path for path in document["paths"] if path.endswith("/invocations")]
        for path in invoked:
            content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
            example = content["examples"]["records"]["value"]
            assert httpx.post(server.url + path, json=example).status_code == 200, path
        assert len(invoked) == 3


def test_a_row_has_the_types_of_its_columns(description: dict[str, Any]) -> None:
    row = description["components"]["schemas"]["mixed.Row"]
    assert row["required"] == [column.name for column in COLUMNS]
    assert row["properties"] == {
        "amount": {"type": ["number", "null"], "format": "float"},
        "count": {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
        "is_new": {"type": "boolean"},
        HOSTILE: {"type": ["string", "null"]},
        "vector": {
            "type": "array",
            "items": {"type": "number", "format": "float"},
            "minItems": 3,
            "maxItems": 3,
        },
    }


def test_the_examples_are_a_golden_row_that_lacks_nothing(description: dict[str, Any]) -> None:
    bodies = description["paths"]["/invocations"]["post"]["requestBody"]["content"]
    (row,) = bodies["application/json"]["examples"]["records"]["value"]["dataframe_records"]
    assert row == GOLDEN_ROW


def test_the_server_does_as_it_describes(server: RunningServer, tmp_path: Path) -> None:
    """schemathesis asks what is allowed and what is not: no failure of the server, no answer that is not described."""
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
        *("--checks", "".join(CHECKS.split()), "--max-examples", "20", "--phases", "examples,coverage,fuzzing"),
        *("--seed", "1", "--generation-database", "none", "--warnings", "off", "--no-color"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_methods_that_a_path_does_not_take_are_told(server: RunningServer) -> None:
    answer = httpx.post(f"{server.url}/openapi.json")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/models", "/ping", "/v2", "/v2/models/mixed"])
def test_head_answers_as_get_without_the_body(server: RunningServer, path: str) -> None:
    got, asked = httpx.get(server.url + path), httpx.head(server.url + path)
    assert asked.status_code == 200
    assert asked.content == b""
    assert asked.headers["content-length"] == got.headers["content-length"]


def test_a_browser_is_not_sent_again_what_it_has(server: RunningServer) -> None:
    for path in ("/", "/openapi.json"):
        tag = httpx.get(server.url + path).headers["etag"]
        assert httpx.get(server.url + path, headers={"if-none-match": tag}).status_code == 304
        assert httpx.get(server.url + path, headers={"if-none-match": '"other"'}).status_code == 200


REFUSED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "names that are lists": ({"dataframe_split": {"columns": [[1]] * 5, "data": [[1] * 5]}}, {}),
    "vectors of different lengths": ({"dataframe_records": [GOLDEN_ROW, GOLDEN_ROW | {"vector": [1]}]}, {}),
    "a deadline of too many digits": ({"inputs": GOLDEN_ROW}, {"x-timeout-ms": "9" * 5000}),
}


@pytest.mark.parametrize(("document", "headers"), REFUSED.values(), ids=REFUSED)
def test_what_broke_the_server_is_refused(
    server: RunningServer, document: dict[str, Any], headers: dict[str, str]
) -> None:
    assert httpx.post(f"{server.url}/invocations", json=document, headers=headers).status_code == 400


def test_a_shape_that_numpy_refuses_is_refused(server: RunningServer) -> None:
    tensor = {"name": "amount", "datatype": "FP32", "shape": [0, 2**62], "data": []}
    assert httpx.post(f"{server.url}/v2/models/mixed/infer", json={"inputs": [tensor]}).status_code == 400
