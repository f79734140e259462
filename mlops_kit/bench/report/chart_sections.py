"""The charts of the page, each where there is something to draw."""

from collections.abc import Iterator

from mlops_kit.bench.report.charts.bars import memory_bars, stage_split
from mlops_kit.bench.report.charts.curves import throughput_latency
from mlops_kit.bench.report.charts.distributions import latency_distributions
from mlops_kit.bench.report.charts.drawing import legend
from mlops_kit.bench.report.markup import Element, element
from mlops_kit.bench.results import BenchResult

REST = "rest"
"""What is left of the time, after all stages that have a name."""


def chart_sections(result: BenchResult) -> Iterator[Element]:
    """A mode has the same colour in all of them."""
    modes = list(dict.fromkeys(each.mode for each in result.measurements))
    series = [(modes.index(each.mode), each) for each in result.measurements]
    if tried := [each for each in series if any(point.p99_s for point in each[1].points)]:
        text = (
            "Each rate that was tried with enough requests for a p99; a hollow mark missed the objective. Both "
            "axes are logarithmic."
        )
        chart = throughput_latency(tried, result.slo_s)
        yield _figure(
            "Throughput and latency", text, chart, legend([(n, each.mode) for n, each in tried], has_markers=True)
        )
    if answered := [each for each in series if each[1].latency and each[1].latency.requests]:
        text = (
            "Requests by latency, which counts from when each was due. Lines mark p50 and p99. Each histogram is "
            "as high as its most frequent bin; the axis is logarithmic."
        )
        yield _figure("Latency", text, latency_distributions(answered))
    if split := [each for each in result.measurements if each.stages_s]:
        stages = sorted(dict.fromkeys(stage for each in split for stage in each.stages_s), key=REST.__eq__)
        text = (
            "Where the mean latency went. “send” is waiting in the client until the request could be sent; “rest” "
            "is what the server does not count: protocols, the network, both sides’ event loops."
        )
        named = list(enumerate(stages))
        yield _figure("Time by stage", text, stage_split(split, stages), legend(named, has_markers=False))
    if weighed := [each for each in series if each[1].peak_memory_bytes]:
        text = "The most that the mode’s own processes took."
        yield _figure("Memory", text, memory_bars(weighed))


def _figure(title: str, text: str, chart: Element, key: Element | None = None) -> Element:
    scrolled = element("div", chart, class_="wide")
    parts = (scrolled,) if key is None else (key, scrolled)
    return element("section", element("h2", title), element("figure", element("figcaption", text), *parts))
