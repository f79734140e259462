"""Events that clients send, and what the log of predictions proves of them."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from mlops_kit_cli.main import app

from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.pushing import Pusher
from mlops_kit.features.online.records import events_space
from mlops_kit.modes.online.metrics.layout import FATES
from mlops_kit.stores.resolve import open_store
from tests.features.online.memory_store import MemoryStore
from tests.features.online.stores import new_store
from tests.modes.online.asking import metrics_of
from tests.modes.online.features.conftest import PATIENT
from tests.modes.online.features.project import Project, make_project, row
from tests.modes.online.server import RunningServer, serving

DEPARTURES = "/v2/events/departures"


@pytest.fixture(params=["sqlite", "redis"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store."""
    with new_store(request.param, request, tmp_path) as uri:
        yield uri


def states_of(project: Project, store: Any) -> dict[bytes, bytes]:
    layout = compile_layout(project.definition.events[0], project.definition.windows)
    return {key: value.data for key, value in store.scan(events_space(layout, ""))}


def undisturbed(project: Project, frame: pl.DataFrame) -> dict[bytes, bytes]:
    store = MemoryStore()
    source = project.definition.events[0]
    Pusher(source, compile_layout(source, project.definition.windows), store).push(
        frame, frame["number"].to_numpy()
    )
    return states_of(project, store)


def post(server: RunningServer, content: object, path: str = DEPARTURES, **headers: str) -> httpx.Response:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.post(f"{server.url}{path}", content=data, headers=headers, timeout=60)


def test_concurrent_posts_to_two_workers_lose_nothing(project: Project, uri: str) -> None:
    events = project.events(0, 1200)
    with serving(project.bundle, "--store", uri, "--workers", 2, *PATIENT) as server:
        # Each key's events come in order, and those of different keys at once.
        streams = [part for _, part in events.group_by("origin")]

        def send(stream: pl.DataFrame) -> list[dict[str, Any]]:
            parts = stream.iter_slices(25)
            return [post(server, part.write_ndjson().encode()).json() for part in parts]

        with ThreadPoolExecutor(len(streams)) as pool:
            answers = [answer for done in pool.map(send, streams) for answer in done]
        assert sum(answer["applied"] for answer in answers) == len(events)
    with closing(open_store(uri)) as store:
        assert states_of(project, store) == undisturbed(project, events)


def test_events_without_numbers_get_some_and_concurrent_posts_of_one_key_lose_nothing(
    unnumbered: Project, uri: str
) -> None:
    events = unnumbered.events(0, 400).drop("number").with_columns(origin=pl.lit("LGA"))
    with serving(unnumbered.bundle, "--store", uri, "--workers", 2, "--request-time", *PATIENT) as server:
        with ThreadPoolExecutor(8) as pool:
            found = [*pool.map(lambda part: post(server, part.to_dicts()).json(), events.iter_slices(5))]
        assert [answer["applied"] for answer in found] == [5] * 80
        numbers = [number for answer in found for number in answer["sequence"]]
        assert len({*numbers}) == 400
        at_us = int(events["at"].max()) + 1  # type: ignore[arg-type]
        events.write_parquet(unnumbered.folder / "departures" / "a.parquet")
        body = {"inputs": row("LGA"), "params": {"as_of": at_us}}
        answer = httpx.post(f"{server.url}/invocations", json=body, timeout=20).json()
    assert [one["prediction"] for one in answer["predictions"]] == unnumbered.expected(
        pl.DataFrame([row("LGA")]), at_us
    )


@pytest.fixture
def unnumbered(tmp_path: Path) -> Project:
    """A project whose departures have no number of their own; it has no flights."""
    made = make_project(tmp_path, sequence="")
    pl.read_parquet(tmp_path / "flown" / "a.parquet")[:0].write_parquet(tmp_path / "flown" / "a.parquet")
    return made


def test_an_event_is_seen_once_its_post_is_answered_and_what_is_none_is_refused_with_its_row(
    project: Project, uri: str
) -> None:
    good = project.events(0, 1).to_dicts()[0]
    bad = [good | {"number": 1, "origin": 5}, good | {"number": 2, "at": None}, 7, good | {"number": None}]
    with serving(project.bundle, "--store", uri, "--request-time", *PATIENT) as server:
        answer = post(server, [good, *bad, good | {"number": 9}, good])
        document = answer.json()
        assert (answer.status_code, document["applied"], document["repeated"]) == (200, 2, 1)
        assert [one["row"] for one in document["refused"]] == [1, 2, 3, 4]
        assert document["sequence"] == [0, None, None, None, None, 9, 0]
        # It is numbered 0 the second time, and 9 was applied by then.
        body = {"inputs": row(good["origin"], distance=0.0), "params": {"as_of": good["at"] + 1}}
        found = httpx.post(f"{server.url}/invocations", json=body, timeout=20)
        assert found.status_code == 200
        refused = post(server, bad)
        assert (refused.status_code, len(refused.json()["refused"])) == (400, 4)
        found = metrics_of(server)
        assert [found["mlkit_events_total", fate, "departures"] for fate in FATES] == [2, 1, 8]


BAD = [
    (b"{", 400, "not valid JSON"),
    (b"[]", 400, "no event in the body"),
    (b"", 400, "not valid JSON"),
    (b"[" * 5000, 400, "not valid JSON"),
]


def test_bodies_of_no_events_and_unknown_sources_are_refused(project: Project, uri: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-sixteen-letters\n")
    with serving(project.bundle, "--store", uri, "--api-key-file", keys, *PATIENT) as server:
        key = {"authorization": "Bearer a-key-of-sixteen-letters"}
        for body, status, message in BAD:
            answer = post(server, body, **key)
            assert (answer.status_code, message in answer.json()["error"]) == (status, True)
        assert post(server, {}).status_code == 401
        unknown = post(server, {}, "/v2/events/departurs", **key)
        assert (unknown.status_code, "departures" in unknown.json()["error"]) == (404, True)
        assert post(server, {}, **key, **{"content-type": "text/csv"}).status_code == 415
        assert httpx.get(f"{server.url}{DEPARTURES}", headers=key).status_code == 405


@pytest.mark.parametrize("is_planted", [False, True])
def test_what_was_served_while_events_came_is_what_history_gives(
    is_planted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project, uri, log = make_project(tmp_path), f"sqlite:///{tmp_path}/features.db", tmp_path / "log"
    project.fill(uri)
    events, asked = project.events(2000, 2600), 0
    with serving(project.bundle, "--store", uri, "--log-predictions", log, *PATIENT) as server:
        pushing = threading.Thread(
            target=lambda: [post(server, part.write_ndjson().encode()) for part in events.iter_slices(20)]
        )
        pushing.start()
        while pushing.is_alive():
            asked += 1
            body = {"dataframe_records": [row("JFK", asked % 4), row("LGA", mean_1h=1.5)]}
            assert httpx.post(f"{server.url}/invocations", json=body, timeout=20).status_code == 200
        pushing.join()
        server.stop()
    if is_planted:
        events = events.with_columns(delay=pl.col("delay") + np.where(np.arange(len(events)) < 10, 0.1, 0))
    events.write_parquet(project.folder / "departures" / "b.parquet")
    code = app(["features", "check", str(project.bundle), "--log", str(log), "--json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    assert document["rows"] == 2 * asked
    assert (code or 0, document["is_same"]) == ((1, False) if is_planted else (0, True))
    assert {one["name"]: one["compared"] for one in document["features"]}["mean_1h"] == 0
    assert {one["name"]: one["compared"] for one in document["features"]}["std_30d"] == 2 * asked


def test_nothing_from_a_time_or_after_it_reaches_a_vector_of_that_time(project: Project, uri: str) -> None:
    """Poison is posted and pushed, with the time itself, just after it, and as late as it can be."""
    history = project.events(0, 2000)
    at_us, rows = int(history["at"].max()) + 1, pl.DataFrame([row("JFK"), row("LGA", 2)])  # type: ignore[arg-type]
    project.fill(uri)
    moments = [at_us, at_us + 1, at_us + 50_000_000]
    poison = pl.DataFrame({"at": moments}).join(pl.DataFrame({"origin": ["JFK", "LGA"]}), how="cross")
    departures = poison.with_columns(delay=pl.lit(1e9), carrier=pl.lit("AA")).with_row_index("number", 2000)
    flown = (
        poison.join(pl.DataFrame({"flight": [1, 2]}), how="cross")
        .with_columns(miles=pl.lit(1e9))
        .with_row_index("number", 500)
    )
    body = {"dataframe_records": rows.to_dicts(), "params": {"as_of": at_us}}
    with serving(project.bundle, "--store", uri, "--request-time", *PATIENT) as server:

        def ask() -> list[float]:
            answer = httpx.post(f"{server.url}/invocations", json=body, timeout=20)
            return [one["prediction"] for one in answer.json()["predictions"]]

        whole = project.expected(rows, at_us)
        assert ask() == whole
        assert post(server, departures.write_ndjson().encode()).json()["applied"] == 6
        with closing(open_store(uri)) as store:
            source = next(source for source in project.definition.events if source.name == "flown")
            layout = compile_layout(source, project.definition.windows)
            seq = flown["number"].cast(pl.Int64).to_numpy()
            assert Pusher(source, layout, store).push(flown, seq).applied == 12
        assert ask() == whole
        later = {**body, "params": {"as_of": moments[-1] + 1}}
        answer = httpx.post(f"{server.url}/invocations", json=later, timeout=20).json()
        assert [one["prediction"] for one in answer["predictions"]] != whole
