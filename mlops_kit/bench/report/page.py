"""The report: one HTML file that asks nobody for anything, and needs no script to be read."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import PurePath

from mlops_kit.bench.advice.advise import Advice
from mlops_kit.bench.figures import seconds
from mlops_kit.bench.report.advice_section import advice_section
from mlops_kit.bench.report.chart_sections import chart_sections
from mlops_kit.bench.report.markup import Element, element, write_html
from mlops_kit.bench.report.notes import QUICK, collect_notes
from mlops_kit.bench.report.rows import HEADS, describe_parity, measurement_cells
from mlops_kit.bench.report.table import table
from mlops_kit.bench.results import BenchResult

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
CLAIMS = (
    "A percentile is there only if every repetition has enough requests for it: 44 for p90, 459 for p99, 4,603 "
    "for p99.9. An interval covers 95 % of what resampled repetitions give, and says nothing of other days.",
    "Latency counts from when a request was due, not from when the client got round to sending it.",
    "Client and server share the machine: a server alone on it may do more.",
)


def render_page(result: BenchResult, advice: Advice | None = None) -> str:
    """The whole document. Without `advice`, it says at which coverage precomputing begins to pay."""
    name = PurePath(result.bundle).name or result.bundle
    body = element("body", *_head_of_page(result, name), *_modes(result))
    body.append(advice_section(result, advice))
    body.extend(chart_sections(result))
    body.extend(_claims(result))
    body.extend(_machine(result))
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"Bench of {name}"),
        element("style", style),
    )
    return write_html(element("html", head, body, lang="en"))


def _head_of_page(result: BenchResult, name: str) -> Iterator[Element]:
    yield element("h1", f"Bench of {name}")
    yield element("p", f"{result.digest} · {result.started_at} · took {seconds(result.seconds)}", class_="faint")
    if result.is_quick:
        yield element("p", _sentence(QUICK), class_="close")
    is_wrong = any(result.parity.mismatches.values())
    yield element("p", describe_parity(result), class_="verdict bad" if is_wrong else "verdict good")


def _modes(result: BenchResult) -> Iterator[Element]:
    yield element("h2", "Modes")
    rows = [measurement_cells(each, result.price_per_hour) for each in result.measurements]
    yield table(HEADS, rows, class_="modes")
    text = (
        f"The rate of server is the largest at which 99 % are answered within {seconds(result.slo_s)}. Cost is of "
        f"a million predictions or look-ups on a machine for {result.price_per_hour:g} per hour that is busy all "
        "the time. Servers have one worker, look-ups one client; a batch job uses every core."
    )
    yield element("p", text, class_="faint")


def _claims(result: BenchResult) -> Iterator[Element]:
    yield element("h2", "What may be claimed")
    notes = [_sentence(note) for note in collect_notes(result) if note != QUICK]
    yield element("ul", *(element("li", text) for text in (*notes, *CLAIMS)), class_="notes")


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."


def _machine(result: BenchResult) -> Iterator[Element]:
    machine = result.machine
    yield element("h2", "Machine")
    facts = {
        "CPU": machine.cpu,
        "cores": f"{machine.cores}",
        "memory": f"{machine.memory_bytes / 2**30:.1f} GiB",
        "system": machine.system,
        **{f"limit of {name}": value for name, value in machine.limits.items()},
        "versions": ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
        "bundle": result.bundle,
    }
    pairs = [part for name, value in facts.items() for part in (element("dt", name), element("dd", value))]
    yield element("dl", *pairs)
