"""Events whose time has not come yet."""

import time
from pathlib import Path

import httpx
import pytest

from mlops_kit.features.definition.loading import load_definition
from tests.features.online.memory_store import MemoryStore
from tests.modes.online.features.in_process import MODEL, serving_in_process

DEFINITION = """
from mlops_kit.features import Events, sum

clicks = Events("clicks", key="user", time="at", history="clicks.parquet", lateness="1h", columns={"user": "string", "x": "float64"})
features = [clicks.window("1h").agg(total=sum("x", default=0.0))]
"""
YEAR_US = 365 * 86400 * 10**6


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def ask(client: httpx.AsyncClient, *users: str, **parameters: int) -> httpx.Response:
    rows = [{"user": user, "own": 1.0} for user in users]
    body = {"dataframe_records": rows, "params": parameters}
    return await client.post(f"/models/{MODEL}/invocations", json=body)


@pytest.mark.anyio
async def test_they_cost_their_key_its_features_and_nobody_else_and_no_answer(tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text(DEFINITION)
    now_us = time.time_ns() // 1000
    events = [{"user": "a", "at": now_us + YEAR_US, "x": 1.0}, {"user": "b", "at": now_us - 10**6, "x": 2.0}]
    async with serving_in_process(load_definition(tmp_path / "features.py"), MemoryStore()) as server:
        posted = await server.client.post("/v2/events/clicks", json=events)
        ahead, other = await ask(server.client, "a"), await ask(server.client, "b")
        asked_for = await ask(server.client, "a", as_of=now_us)
    assert posted.json()["applied"] == 2
    assert ahead.json() == {"predictions": [{"own": 1.0, "total": 0.0}]}
    assert ahead.headers["x-mlkit-degraded"] == "clicks"
    assert other.json() == {"predictions": [{"own": 1.0, "total": 2.0}]}
    assert "x-mlkit-degraded" not in other.headers
    assert (asked_for.status_code, "as of that time" in asked_for.text) == (400, True)
