"""What stderr has of what went wrong: a line for each, and nothing of any request."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlops_kit.modes.online.http.app import App
from mlops_kit.modes.online.job import ServeJob
from mlops_kit.modes.online.limits import Limits
from mlops_kit.modes.online.log_format import LogFormat
from mlops_kit.modes.online.metrics.counters import SharedCounters
from mlops_kit.modes.online.metrics.layout import Layout
from tests.bundles import NAMES, write_bundle
from tests.cli.mlkit import COMMAND
from tests.modes.online.loaded import load, make_models

HOSTILE = "größe\r\n\x1b[2J\x85\u2028an entry that nobody wrote"
SPEAKER = f"""
import logging, sys
from mlops_kit.modes.online.log_format import LogFormat
from mlops_kit.modes.online.logs import set_up_logging

def fail():
    try:
        int("secret")
    except ValueError as error:
        raise KeyError("secret") from error

set_up_logging(LogFormat(sys.argv[1]))
log = logging.getLogger("mlkit.serve")
log.warning("a name: %s", {HOSTILE!r})
try:
    fail()
except KeyError:
    log.exception("it failed\\ntask: <Task of b'secret'>")
"""


@pytest.mark.parametrize("form", LogFormat)
def test_an_entry_is_one_line_without_what_a_request_said(form: LogFormat) -> None:
    said = subprocess.run([sys.executable, "-c", SPEAKER, form], check=True, capture_output=True, text=True).stderr
    warning, failure = said.splitlines()
    assert "größe" in warning
    assert warning.isprintable()
    assert "it failed" in failure
    assert "KeyError at __main__:10 < __main__:16, after ValueError at __main__:8" in failure
    assert "secret" not in said
    if form == "json":
        assert json.loads(warning)["message"] == f"a name: {HOSTILE}"
        assert set(json.loads(failure)) == {"time", "level", "process", "message", "exception"}


@pytest.mark.anyio
async def test_a_bug_is_told_without_the_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counters = SharedCounters(Layout(["tiny"]), 2)
    models = make_models(counters, Limits())
    await load(models, "tiny", write_bundle(tmp_path / "tiny"))
    nobody: Any = None
    app = App(models, ServeJob("0"), counters, nobody, None)
    models.find("tiny").infer = None  # type: ignore[method-assign, assignment]
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        path = "/models/tiny/invocations?key=secret"
        answer = await client.post(path, json={"inputs": dict.fromkeys(NAMES, 1.0)})
    assert answer.status_code == 500
    assert answer.json()["error_code"] == "INTERNAL_ERROR"
    assert [record.getMessage() for record in caplog.records] == ["a bug in mlkit, met over HTTP"]


def test_a_server_that_cannot_start_says_so_in_json(tmp_path: Path) -> None:
    words = ("serve", str(tmp_path / "nothing"), "--port", "0", "--grpc-port", "0", "--log-format", "json")
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert json.loads(line)["level"] == "critical"
    assert "no such bundle" in json.loads(line)["message"]
