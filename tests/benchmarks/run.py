"""Every benchmark of the repository, one table, and RESULTS.md.

A benchmark that fails or takes too long is a row of the table, and the next one runs. Exits with 1 if something is
missed, failed or too late.

    python -m tests.benchmarks.run [--timeout SECONDS] [NAME…]

With names (bench_start, …), only those run, and what RESULTS.md has of the others stays in it.
"""

import argparse
import os
import platform
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlops_kit import __version__
from tests.benchmarks.verdict import Verdict, read_verdicts

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "RESULTS.md"
TIMEOUT_S = 3600.0
HEADS = ("benchmark", "figure", "value", "target", "verdict")
ORIGIN = ("day", "machine")
CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Outcome:
    """What a benchmark found. `problem` says why it did not get to its end; empty if it did."""

    name: str
    seconds: float
    verdicts: tuple[Verdict, ...]
    problem: str = ""

    @property
    def is_good(self) -> bool:
        return not self.problem and all(verdict.is_met for verdict in self.verdicts)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Cells for each figure, and for the problem."""
        for verdict in self.verdicts:
            target = f"{verdict.relation} {verdict.target:,.4g}"
            yield self.name, verdict.name, f"{verdict.value:,.4g}", target, "meets" if verdict.is_met else "MISSES"
        if self.problem or not self.verdicts:
            yield self.name, self.problem or "no figure with a target", "", "", "FAILED" if self.problem else ""


def main(names: Sequence[str], timeout_s: float) -> int:
    """The exit code."""
    chosen = names or sorted(path.stem for path in FOLDER.glob("bench_*.py"))
    outcomes = []
    for name in chosen:
        print(f"── {name}", flush=True)
        outcomes.append(run_benchmark([sys.executable, "-m", f"tests.benchmarks.{name}"], name, timeout_s))
    rows = [HEADS, *(row for outcome in outcomes for row in outcome.rows())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print("\n" + "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows))
    before = RESULTS.read_text(encoding="utf-8") if names and RESULTS.exists() else ""
    RESULTS.write_text(render_results(outcomes, before), encoding="utf-8")
    print(f"\nwritten to {RESULTS}")
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


def run_benchmark(command: Sequence[str], name: str, timeout_s: float) -> Outcome:
    """Shows what it prints as it comes. Whatever it has started ends with it."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    output = b""
    try:
        for data in _data(process, started + timeout_s):
            output += data
            sys.stdout.write(data.decode(errors="replace"))
            sys.stdout.flush()
        problem = _problem(process, output, timeout_s)
    finally:
        _end(process)
    verdicts = tuple(read_verdicts(output.decode(errors="replace")))
    return Outcome(name, time.monotonic() - started, verdicts, problem)


def _data(process: "subprocess.Popen[bytes]", deadline: float) -> Iterator[bytes]:
    """Until its output ends or its time is over."""
    if process.stdout is None:
        raise RuntimeError("stdout is a pipe")
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data:
                    process.wait()
                    return
                yield data


def _problem(process: "subprocess.Popen[bytes]", output: bytes, timeout_s: float) -> str:
    code = process.poll()
    if code is None:
        return f"took longer than {timeout_s:,.0f} s"
    if code == 0:
        return ""
    last = output.decode(errors="replace").strip().rpartition("\n")[2]
    return f"exit code {code}: {last[:160]}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """With its servers: they are in its session, unless they have made one of their own."""
    try:
        os.killpg(process.pid, signal.SIGTERM if process.poll() is None else signal.SIGKILL)
        process.wait(10)
    except ProcessLookupError:
        return
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def render_results(outcomes: Sequence[Outcome], before: str = "") -> str:
    """The file. Of the one `before`, the rows of other benchmarks stay."""
    origin = (f"{datetime.now(UTC):%Y-%m-%d}", _machine())
    rows = [_line((*row, *origin)) for outcome in outcomes for row in outcome.rows()]
    measured = {outcome.name for outcome in outcomes}
    rows += [
        line
        for line in before.splitlines()
        if _benchmark(line).startswith("bench_") and _benchmark(line) not in measured
    ]
    heads = (*HEADS, *ORIGIN)
    table = "\n".join((_line(heads), _line(["---"] * len(heads)), *sorted(rows, key=_benchmark)))
    return (
        f"# What the benchmarks found\n\n`make bench` wrote this, with mlkit {__version__}. Every figure is of one run, "
        "beside what it is compared with; read the benchmark's own docstring for what that is.\n\n"
        f"{table}\n"
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _benchmark(line: str) -> str:
    """Whose row it is; empty for what is none."""
    cells = CELL.split(line)
    return cells[1].strip() if len(cells) > 2 else ""


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{os.cpu_count()} cores of {cpu or platform.machine()}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="SECONDS")
    given = parser.parse_args()
    sys.exit(main(given.names, given.timeout))
