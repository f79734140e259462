"""The pages in a real browser: what people see and do."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

import mlops_kit
from tests.cli.mlkit import mlkit
from tests.modes.online.browser import WAIT_MS, chromium, new_page
from tests.modes.online.mixed_bundle import GOLDEN_ROW, HOSTILE, write_mixed_bundle
from tests.modes.online.server import RunningServer, serving

HOSTILE_NAME = "<i>\"&'"

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixed_bundle(tmp_path_factory.mktemp("bundles") / "mixed")


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[RunningServer]:
    with serving(f"mixed={bundle}", f"{HOSTILE_NAME}={bundle}", "--timeout-ms", "20000") as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser, server: RunningServer) -> Iterator[tuple[Page, list[str]]]:
    with new_page(browser, server.url) as (page, complaints):
        page.goto(server.url)
        expect(page.locator("#name")).to_have_text("mixed")
        yield page, complaints


@pytest.fixture
def page(opened: tuple[Page, list[str]]) -> Page:
    return opened[0]


def predicted(bundle: Path, row: dict[str, Any]) -> dict[str, Any]:
    return mlops_kit.load(bundle).predict(row)


def shown_answer(page: Page) -> dict[str, Any]:
    """What is below "As JSON", which has all digits."""
    page.wait_for_selector("#answer dl")
    answers: list[dict[str, Any]] = json.loads(page.locator("#received").text_content() or "")["predictions"]
    return answers[0]


def test_the_page_asks_no_other_host_and_has_no_complaints(opened: tuple[Page, list[str]]) -> None:
    page, complaints = opened
    page.get_by_role("button", name="Predict").click()
    page.wait_for_selector("#answer dl")
    page.wait_for_selector('.line[data-points="2"]', state="attached")
    assert complaints == []


def test_nothing_of_other_hosts_and_nothing_inline_is_allowed(server: RunningServer) -> None:
    for path in ("/", "/docs", "/pages/page.js", "/openapi.json"):
        headers = httpx.get(server.url + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_the_model_is_described(page: Page, server: RunningServer) -> None:
    (model, _) = httpx.get(f"{server.url}/models").json()["models"]
    expect(page.locator("#state")).to_have_text("Ready")
    expect(page.locator("#version")).to_have_text(model["version"])
    expect(page.locator("#digest")).to_have_text(model["digest"])
    expect(page.locator("#loaded")).to_have_attribute("datetime", model["loaded_at"])
    expect(page.locator("#refusal")).to_be_hidden()


def test_the_form_has_the_golden_row_and_predict_gives_the_answer_of_mlkit_predict(
    page: Page, bundle: Path
) -> None:
    page.get_by_role("button", name="Predict").click()
    assert shown_answer(page) == json.loads(mlkit("predict", bundle, stdin=json.dumps(GOLDEN_ROW)).stdout)
    expect(page.locator("#latency")).to_contain_text("ms")


def test_what_is_typed_is_what_is_asked(page: Page, bundle: Path) -> None:
    row = {"amount": -1.5e-3, "count": 2**60 + 1, "is_new": False, HOSTILE: "</script>", "vector": [1, 2, -3]}
    page.get_by_label("amount", exact=True).fill("-1.5e-3")
    page.get_by_label("count", exact=True).fill(str(row["count"]))
    page.get_by_label("is_new", exact=True).uncheck()
    page.get_by_label(HOSTILE, exact=True).fill("</script>")
    page.get_by_label("vector", exact=True).fill("[1, 2, -3]")
    page.get_by_role("button", name="Predict").click()
    assert shown_answer(page) == predicted(bundle, row)
    assert json.loads(page.locator("#sent").text_content() or "") == {"inputs": row}


def test_a_value_may_be_missing_where_the_column_allows_it(page: Page) -> None:
    page.get_by_label("amount is missing").check()
    expect(page.get_by_label("amount", exact=True)).to_be_disabled()
    expect(page.get_by_label("count is missing")).to_have_count(0)
    page.get_by_role("button", name="Predict").click()
    assert shown_answer(page) == {"score": None, "echo": GOLDEN_ROW[HOSTILE]}


def test_the_keyboard_is_enough(page: Page, bundle: Path) -> None:
    page.get_by_label("amount", exact=True).focus()
    for keys in ("Control+a", "7", "Enter"):
        page.keyboard.press(keys)
    assert shown_answer(page) == predicted(bundle, GOLDEN_ROW | {"amount": 7})


def test_a_refusal_is_shown_as_the_server_says_it(page: Page) -> None:
    page.get_by_label("vector", exact=True).fill("[1]")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer")).to_contain_text("Refused (400)")
    expect(page.locator("#answer")).to_contain_text("column 'vector': values of shape (1,)")


def test_what_is_no_list_is_not_sent(page: Page) -> None:
    page.get_by_label("vector", exact=True).fill("[1,")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#answer")).to_contain_text("vector: this is no list of values")


def test_names_are_text_and_no_markup(page: Page, server: RunningServer) -> None:
    page.get_by_role("button", name=HOSTILE_NAME).click()
    expect(page.locator("#name")).to_have_text(HOSTILE_NAME)
    page.get_by_role("button", name="Predict").click()
    page.wait_for_selector("#answer dl")
    expect(page.get_by_label(HOSTILE, exact=True)).to_be_visible()
    assert page.locator("img, i, b").count() == 0


def test_charts_have_points_after_requests(page: Page, server: RunningServer) -> None:
    lines = page.locator(".chart .line")
    expect(lines).to_have_count(3)
    for index in range(3):
        expect(lines.nth(index)).to_have_attribute("d", re.compile("^$|M"))
    page.wait_for_selector('.chart:nth-child(1) .line:not([data-points="0"])', state="attached")
    answer = httpx.post(f"{server.url}/models/mixed/invocations", json={"dataframe_records": [GOLDEN_ROW] * 3})
    assert answer.status_code == 200
    for number in (1, 2, 3):
        page.wait_for_selector(f'.chart:nth-child({number}) .line:not([data-points="0"])', state="attached")
    expect(page.get_by_role("img", name=re.compile("Mean batch.*at most 3"))).to_be_attached()


def test_a_server_that_is_gone_is_told(browser: Browser, bundle: Path) -> None:
    with serving(bundle) as server, new_page(browser, server.url) as (page, _):
        page.goto(server.url)
        expect(page.locator("#fields")).not_to_be_empty()
        server.stop()
        page.get_by_role("button", name="Predict").click()
        expect(page.locator("#answer")).to_contain_text("The server does not answer")
        expect(page.locator("#state")).to_have_text("Does not answer")


def test_a_refused_bundle_is_told(page: Page, server: RunningServer) -> None:
    listed = httpx.get(f"{server.url}/models").json()
    listed["models"][0]["refusal"] = "model.onnx: refused. <b>it is damaged</b>"
    page.route("**/models", lambda route: route.fulfill(json=listed))
    page.reload()
    expect(page.locator("#refusal")).to_be_visible()
    expect(page.locator("#refusal")).to_contain_text("The version before it goes on answering")
    expect(page.locator("#refusal")).to_contain_text("<b>it is damaged</b>")


def test_a_key_is_asked_for_once_and_kept_in_the_tab_only(page: Page, server: RunningServer) -> None:
    """The server has no keys; it is played by the browser that refuses requests without one."""

    def answer(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": "a key is needed"})

    page.route(re.compile(r"/(models|v2)\b"), answer)
    page.reload()
    page.get_by_label("API key").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_label("API key").fill("right")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Predict").click()
    page.wait_for_selector("#answer dl")
    expect(page.locator("#key-form")).to_be_hidden()
    assert page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]


def curl_commands(page: Page, server: RunningServer) -> list[str]:
    page.goto(f"{server.url}/docs")
    page.wait_for_selector("pre.curl")
    return page.locator("pre.curl").all_text_contents()


def test_the_documentation_asks_no_other_host_and_has_no_complaints(
    browser: Browser, server: RunningServer
) -> None:
    with new_page(browser, server.url) as (page, complaints):
        curl_commands(page, server)
        expect(page.locator("main")).to_contain_text(HOSTILE)
        assert page.locator("img, i, b").count() == 0
        assert complaints == []


def test_every_path_is_in_the_documentation(page: Page, server: RunningServer) -> None:
    curl_commands(page, server)
    told = page.locator(".address span:last-child").all_text_contents()
    (version,) = {model["version"] for model in httpx.get(f"{server.url}/models").json()["models"]}
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert {httpx.URL(path.replace("{version}", version)).path for path in paths} == set(told)


def test_the_commands_of_the_documentation_work(page: Page, server: RunningServer, bundle: Path) -> None:
    commands = curl_commands(page, server)
    assert len(commands) > 20
    answer = predicted(bundle, GOLDEN_ROW)
    for command in commands:
        if command.partition(" \\")[0].endswith("/load"):  # nobody may, without a key of an administrator
            continue
        done = subprocess.run(
            ["sh", "-c", f"{command} --fail-with-body --silent --show-error"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if "/invocations" in command:
            assert json.loads(done.stdout)["predictions"] == [answer], command


def test_a_command_can_be_copied(page: Page, server: RunningServer) -> None:
    command = curl_commands(page, server)[0]
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == command
