"""Which mode pays: for those who ask, or, as long as nobody has said who that is, where it changes."""

from collections.abc import Iterator
from dataclasses import replace

from mlops_kit.bench.advice import wording
from mlops_kit.bench.advice.advise import Advice, advise
from mlops_kit.bench.advice.options import BATCH, CACHE, ONLINE
from mlops_kit.bench.advice.workload import Workload
from mlops_kit.bench.figures import figure, percent, seconds
from mlops_kit.bench.report.markup import Element, element
from mlops_kit.bench.report.table import table
from mlops_kit.bench.results import BenchResult
from mlops_kit.errors import UsageError

DAY_S = 86_400.0
REQUESTS = (1, 2, 5, 20, 100)
ASK = "mlkit bench advise RESULT.json --entities 1000000 --active-share 2% --requests-per-active 3 --refresh 24h"
ASKED = ("N", "s", "k")
"""What only those who ask can tell."""

HEADS = ("requests per active entity", "batch is the cheapest from a coverage of", "below that")


def advice_section(result: BenchResult, advice: Advice | None) -> Element:
    """A section of the page."""
    parts = _advice(advice) if advice else _break_evens(result)
    return element("section", element("h2", "Which mode pays"), *parts)


def _advice(advice: Advice) -> Iterator[Element]:
    class_ = "bad" if advice.choice is None else "close" if advice.close else "good"
    yield element("p", wording.verdict(advice), class_=f"verdict {class_}")
    for reason in advice.close:
        yield element("p", f"It is close: {reason}.", class_="close")
    yield element("p", wording.traffic(advice))
    yield element("p", wording.break_even(advice))
    yield table(wording.OPTION_HEADS, [wording.describe_option(option) for option in advice.options], "options")
    yield element("pre", "\n".join(wording.FORMULAS))
    yield table((), wording.inputs(advice))
    if advice.notes:
        yield element("ul", *(element("li", note[0].upper() + note[1:]) for note in advice.notes), class_="notes")


def _break_evens(result: BenchResult) -> Iterator[Element]:
    usual = Workload(
        entities=1_000_000,
        active_share=1.0,
        requests_per_active=1,
        refresh_s=DAY_S,
        freshness_s=DAY_S,
        latency_s=result.slo_s,
    )
    try:
        found = [advise(result, replace(usual, requests_per_active=requests)) for requests in REQUESTS]
    except UsageError as error:
        yield element("p", f"{error.what}: there is nothing to advise on.")
        return
    if not found[0].is_possible(BATCH, ONLINE):
        yield element("p", wording.break_even(found[0]))
        return
    text = (
        "Precomputing for everybody pays if enough of them show up before the next refresh. By what was measured "
        f"(a refresh every {seconds(DAY_S)}, servers that use {percent(usual.utilisation)} of what they can on "
        f"average, storage at {figure(usual.storage_price)} per GB and month):"
    )
    yield element("p", text)
    yield table(HEADS, [_break_even(each) for each in found])
    yield element("pre", "\n".join(wording.FORMULAS))
    yield table((), [cells for cells in wording.inputs(found[0]) if cells[0] not in ASKED])
    yield element("p", "For numbers of your own: ", element("code", ASK))


def _break_even(advice: Advice) -> tuple[str, str, str]:
    repeats = advice.repeats if advice.is_possible(CACHE) else None
    is_cached = repeats is not None and advice.workload.requests_per_active > repeats
    coverage = "never" if advice.coverage is None else percent(advice.coverage)
    return figure(advice.workload.requests_per_active), coverage, CACHE if is_cached else ONLINE
