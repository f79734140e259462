"""What `make bench` makes of the repository's own benchmarks."""

import re
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.run import Outcome, render_results, run_benchmark
from tests.benchmarks.verdict import Verdict, read_verdicts, report

SCRIPTS = sorted(Path(__file__).parents[1].joinpath("benchmarks").glob("bench_*.py"))


@pytest.mark.parametrize(
    ("value", "relation", "target", "is_met"),
    [(1.5, ">=", 1.5, True), (1.4999, ">=", 1.5, False), (600.0, "<", 600, False), (0.2, "<=", 0.2, True)],
)
def test_a_figure_meets_its_target_or_misses_it(
    value: float, relation: str, target: float, is_met: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    report("rows/s: of the raw limit", value, relation, target)
    (found,) = read_verdicts("noise\n" + capsys.readouterr().out + "noise")
    assert found == Verdict("rows/s: of the raw limit", value, relation, target)
    assert found.is_met == is_met


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_benchmark_reports_in_the_common_way(script: Path) -> None:
    text = script.read_text()
    assert re.search(r"^ +report\(", text, re.MULTILINE)
    assert "MISSES" not in text


def run(code: str, timeout_s: float = 60) -> Outcome:
    return run_benchmark([sys.executable, "-u", "-c", code], "bench_it", timeout_s)


def test_a_benchmark_that_ends_has_its_figures() -> None:
    outcome = run("print('RESULT it: 2 >= 1 meets'); print('RESULT other: 2 < 1 MISSES')")
    assert list(outcome.rows()) == [
        ("bench_it", "it", "2", ">= 1", "meets"),
        ("bench_it", "other", "2", "< 1", "MISSES"),
    ]
    assert not outcome.is_good


def test_a_benchmark_that_fails_is_a_row_beside_what_it_found_before() -> None:
    outcome = run("print('RESULT it: 2 >= 1 meets'); raise SystemExit('no such server')")
    assert [row[-1] for row in outcome.rows()] == ["meets", "FAILED"]
    assert outcome.problem == "exit code 1: no such server"


def test_a_benchmark_that_takes_too_long_ends_with_what_it_started() -> None:
    child = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    )
    outcome = run(child + "print('pid', p.pid); import time; time.sleep(600)", timeout_s=3)
    assert outcome.problem == "took longer than 3 s"
    assert outcome.seconds < 30


def test_one_without_a_figure_is_told_but_is_no_failure() -> None:
    assert list(run("print('fast')").rows()) == [("bench_it", "no figure with a target", "", "", "")]


def test_the_file_names_the_day_and_the_machine() -> None:
    text = render_results([Outcome("bench_it", 61.0, (Verdict("a|b", 2, ">=", 1),))])
    assert f"| bench_it | a\\|b | 2 | >= 1 | meets | {time.strftime('%Y-', time.gmtime())}" in text
    assert "cores of" in text


def test_what_was_measured_before_stays_until_it_is_measured_again() -> None:
    first, second = (Outcome(name, 1.0, (Verdict("a|b", 2, ">=", 1),)) for name in ("bench_one", "bench_two"))
    both = render_results([first, second])
    assert render_results([second], both) == both
    again = render_results([Outcome("bench_one", 1.0, (Verdict("a|b", 3, ">=", 1),))], both)
    assert [line for line in again.splitlines() if line not in both] == [
        line.replace("| 2 |", "| 3 |") for line in both.splitlines() if "bench_one" in line
    ]
