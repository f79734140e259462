"""The page of a model with features, in a real browser."""

import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.records import events_space
from mlops_kit.stores.interface import Write
from mlops_kit.stores.resolve import open_store
from tests.modes.online.browser import WAIT_MS, chromium, new_page
from tests.modes.online.features.conftest import PATIENT
from tests.modes.online.features.project import FEATURES, Project
from tests.modes.online.server import serving

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def page(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Of a server whose store has damaged departures of EWR."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/features.db"
    project.fill(uri)
    space = events_space(compile_layout(project.definition.events[0], project.definition.windows), "")
    with closing(open_store(uri)) as store:
        key = next(key for key, _ in store.scan(space) if b"EWR" in key)
        store.write(space, [Write(key, b"damaged", None)])
    with (
        serving(project.bundle, "--store", uri, *PATIENT) as server,
        chromium() as browser,
        new_page(browser, server.url) as (page, complaints),
    ):
        page.goto(server.url)
        expect(page.locator("#keys input[type=text]")).to_have_count(1)
        yield page
        assert complaints == []


def predict(page: Page, origin: str) -> None:
    page.get_by_label("origin", exact=True).fill(origin)
    page.locator("#answer").evaluate("told => told.replaceChildren()")
    page.get_by_role("button", name="Predict").click()
    page.wait_for_selector("#answer dl")


def test_keys_columns_and_features_are_told_apart(page: Page) -> None:
    names = {part: page.locator(f"#{part} label:first-child").all_text_contents() for part in ("keys", "fields")}
    assert names == {"keys": ["origin", "flight"], "fields": ["miles", "distance"]}
    expect(page.locator("#overrides .looked-up")).to_have_count(len(FEATURES))
    expect(page.locator("#overrides-part summary")).to_contain_text("looked up, unless you give a value")


def test_a_feature_is_sent_only_where_it_is_given(page: Page) -> None:
    page.locator("#overrides-part summary").click()
    page.get_by_label("give mean_1h").check()
    page.get_by_label("mean_1h", exact=True).fill("7.5")
    predict(page, "JFK")
    sent = json.loads(page.locator("#sent").text_content() or "")["inputs"]
    assert [*sent] == ["origin", "flight", "miles", "distance", "mean_1h"]
    assert sent["mean_1h"] == 7.5
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("#overrides .looked-up")).to_have_count(len(FEATURES))


def test_the_ages_of_features_and_what_an_answer_lacks_are_shown(page: Page) -> None:
    predict(page, "JFK")
    ages = page.locator("#answer .ages div")
    assert ages.locator("dt").all_text_contents() == ["departures", "flown", "airports"]
    assert ages.locator("dd").first.text_content() != "none"
    expect(page.locator("#answer .degraded")).to_have_count(0)
    predict(page, "EWR")
    expect(page.locator("#answer .degraded")).to_contain_text("nothing of departures: defaults were used")
    assert ages.locator("dd").first.text_content() == "none"
