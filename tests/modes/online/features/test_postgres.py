"""Features that a server looks up in PostgreSQL, and events that it writes there."""

from pathlib import Path

import httpx
import polars as pl
import pytest

from tests.features.online.stores import new_store
from tests.modes.online.features.conftest import PATIENT
from tests.modes.online.features.project import Project, make_project, row
from tests.modes.online.server import serving
from tests.servers.postgres import PASSWORD


def test_an_answer_from_postgresql_is_that_of_joining_and_predicting_also_after_events(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    project: Project = make_project(tmp_path)
    rows, more = pl.DataFrame([row("JFK"), row("LGA", 2), row("nowhere"), row(None)]), project.events(2000, 2100)
    at_us = project.start_us + 2_050_000_000
    with new_store("postgresql", request, tmp_path) as uri:
        project.fill(uri)
        words = ["--store", uri, "--request-time", *PATIENT]
        with serving(project.bundle, *words) as server, httpx.Client(base_url=server.url, timeout=60) as client:

            def ask() -> list[float]:
                body = {"dataframe_records": rows.to_dicts(), "params": {"as_of": at_us}}
                return [one["prediction"] for one in client.post("/invocations", json=body).json()["predictions"]]

            before = project.expected(rows, at_us)
            assert ask() == before
            applied = client.post("/v2/events/departures", content=more.write_ndjson().encode()).json()["applied"]
            assert applied == len(more)
            more.write_parquet(project.folder / "departures" / "b.parquet")
            after = project.expected(rows, at_us)
            assert ask() == after != before
