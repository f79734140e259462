"""The report in a real browser: what people see."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from mlops_kit.bench.advice.advise import advise
from mlops_kit.bench.advice.workload import Workload
from mlops_kit.bench.report.page import render_page
from mlops_kit.bench.results import BenchResult, Parity
from tests.bench.report.example import example
from tests.bench.results import measured, result
from tests.modes.online.browser import chromium, new_page

HOSTILE = "<img src=x onerror=alert(1)>\"&'"

OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll("svg.chart")].map(chart =>
    [...chart.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]));
  const found = [];
  for (const texts of boxes)
    texts.forEach(([one, a], i) => texts.slice(i + 1).forEach(([other, b]) => {
      if (a.left < b.right && b.left < a.right && a.top < b.bottom - 3 && b.top < a.bottom - 3)
        found.push(`${one} / ${other}`);
    }));
  return found;
}"""

OUTSIDE = """() => [...document.querySelectorAll("svg.chart")].flatMap(chart => {
  const border = chart.getBoundingClientRect();
  return [...chart.querySelectorAll("text, rect, path, circle")].filter(part => {
    const box = part.getBoundingClientRect();
    return box.left < border.left - 1 || box.right > border.right + 1
      || box.top < border.top - 1 || box.bottom > border.bottom + 1;
  }).map(part => part.outerHTML);
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def page_of(found: BenchResult, folder: Path, *, with_advice: bool = True) -> str:
    workload = Workload(1_000_000, 0.02, 3, 86_400, 86_400, 0.1)
    path = folder / "report.html"
    path.write_text(render_page(found, advise(found, workload) if with_advice else None), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    url = page_of(example(), tmp_path)
    with new_page(browser, url) as (page, complaints):
        page.goto(url)
        yield page
        assert complaints == []


def test_the_page_asks_nobody_and_has_no_script(tmp_path: Path) -> None:
    html = render_page(example())
    assert "<script" not in html
    assert not re.search(r"""(src|href|url\()\s*=?\s*["']?(https?:)?//""", html)
    assert "default-src 'none'" in html


def test_every_measurement_is_in_the_table_and_every_chart_is_there(shown: Page) -> None:
    assert shown.locator("table.modes tbody tr").count() == len(example().measurements)
    names = [chart.get_attribute("aria-label") or "" for chart in shown.locator("svg.chart").all()]
    assert [name.split()[0] for name in names] == ["99th", "Distribution", "Time", "Peak"]


def test_the_advice_and_its_formulas_are_there(shown: Page) -> None:
    section = shown.locator("section", has_text="Which mode pays").first
    assert "Run online" in (section.text_content() or "")
    assert "min(k·(o - l), o + l + w + g)" in (section.text_content() or "")


@pytest.mark.parametrize("width", [1100, 720, 360])
def test_no_labels_overlap_or_leave_their_chart(shown: Page, width: int) -> None:
    shown.set_viewport_size({"width": width, "height": 900})
    assert shown.evaluate(OVERLAPS) == []
    assert shown.evaluate(OUTSIDE) == []


@pytest.mark.parametrize("width", [1100, 360])
def test_the_page_itself_does_not_scroll_sideways(shown: Page, width: int) -> None:
    shown.set_viewport_size({"width": width, "height": 900})
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


def contrasts(page: Page) -> list[float]:
    """Of the text, the fainter text and every series with the ground, as WCAG counts it."""
    colours = page.evaluate(
        """() => {
          const style = getComputedStyle(document.documentElement);
          return ["--ground", "--text", "--faint", "--good", "--bad", "--close", ...Array(8).keys()]
            .map(name => style.getPropertyValue(typeof name == "number" ? `--s${name}` : name).trim());
        }"""
    )

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ground, *others = (luminance(colour) for colour in colours)
    return [(max(ground, other) + 0.05) / (min(ground, other) + 0.05) for other in others]


@pytest.mark.parametrize(("scheme", "media"), [("light", "screen"), ("dark", "screen"), ("dark", "print")])
def test_text_and_series_stand_out_in_light_in_dark_and_in_print(shown: Page, scheme: str, media: str) -> None:
    shown.emulate_media(color_scheme=scheme, media=media)  # type: ignore[arg-type]
    text, series = contrasts(shown)[:5], contrasts(shown)[5:]
    assert min(text) >= 4.5
    assert min(series) >= 3


def test_print_is_on_white_even_where_people_like_it_dark(shown: Page) -> None:
    shown.emulate_media(color_scheme="dark", media="print")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_names_are_text_and_no_markup(browser: Browser, tmp_path: Path) -> None:
    named = result(
        measured(HOSTILE, "server", 5.0, notes=(HOSTILE,), stages_s={HOSTILE: 0.1}, peak_memory_bytes=1),
        bundle=HOSTILE,
        parity=Parity(3, (HOSTILE,), {HOSTILE: 1}, HOSTILE),
    )
    path = tmp_path / "report.html"
    path.write_text(render_page(named), encoding="utf-8")
    with new_page(browser, path.as_uri()) as (page, complaints):
        page.goto(path.as_uri())
        assert page.locator("img").count() == 0
        assert HOSTILE in (page.locator("h1").text_content() or "")
        assert complaints == []


def test_other_answers_are_told_first(tmp_path: Path) -> None:
    wrong = example(parity=Parity(512, ("batch", "lookup"), {"lookup": 3}, "row 7 of lookup: score is 1.0"))
    html = render_page(wrong)
    assert html.index("row 7 of lookup") < html.index("Which mode pays")


@pytest.mark.parametrize(
    "found",
    [
        result(measured("batch", "offline", 5.0)),
        result(measured("online-rest", "server", 0.0, latency=None)),
        result(),
    ],
    ids=["files alone", "nobody answers", "nothing"],
)
def test_a_page_is_made_of_whatever_was_measured(found: BenchResult) -> None:
    assert "Which mode pays" in render_page(found)


def test_without_a_workload_it_says_where_batch_begins_to_pay(browser: Browser, tmp_path: Path) -> None:
    url = page_of(example(), tmp_path, with_advice=False)
    with new_page(browser, url) as (page, _):
        page.goto(url)
        cells = page.locator("section", has_text="Which mode pays").locator("tbody").first.locator("tr").all()
    assert len(cells) == 5
