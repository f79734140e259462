"""The report as Markdown, for a pull request or a wiki."""

from collections.abc import Iterable, Iterator, Sequence

from mlops_kit.bench.advice import wording
from mlops_kit.bench.advice.advise import Advice
from mlops_kit.bench.report.notes import collect_notes
from mlops_kit.bench.report.rows import HEADS, describe_parity, measurement_cells
from mlops_kit.bench.results import BenchResult


def render_markdown(result: BenchResult, advice: Advice | None = None) -> str:
    """Without the charts."""
    machine = result.machine
    parts = [
        f"## Bench of {_escaped(result.bundle)}",
        f"{result.digest}, {result.started_at}, {machine.cpu}, {machine.cores} cores",
        _table(HEADS, (measurement_cells(each, result.price_per_hour) for each in result.measurements)),
        _escaped(describe_parity(result)),
        *(_advice(advice) if advice else ()),
        "\n".join(f"- {_escaped(note)}" for note in collect_notes(result)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _advice(advice: Advice) -> Iterator[str]:
    yield f"**{_escaped(wording.verdict(advice))}**"
    yield "\n".join(f"- It is close: {reason}." for reason in advice.close)
    yield f"{wording.traffic(advice)} {wording.break_even(advice)}"
    yield _table(wording.OPTION_HEADS, map(wording.describe_option, advice.options))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)


def _escaped(text: str) -> str:
    """In one line and without a meaning: https://github.github.com/gfm/#backslash-escapes."""
    one_line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|" else letter for letter in one_line)
