"""How long a command takes as a whole, from the shell's point of view, on a warm machine.

Targets: `mlkit --help` 0.15 s, `mlkit predict` of one row with the template's model 1 s. Both are set beside
the interpreter's own start, below which nothing in Python can be.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.flights_model import COLUMNS, export_flights_model
from tests.benchmarks.verdict import report

RUNS = 11
MLKIT = Path(sys.executable).parent / "mlkit"


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = export_flights_model(Path(folder) / "flights")
        row = "{" + ", ".join(f'"{name}": 1' for name in COLUMNS) + "}"
        commands = {
            "python -c pass": ([sys.executable, "-c", "pass"], None),
            "mlkit --help": ([MLKIT, "--help"], 0.15),
            "mlkit predict, one row": ([MLKIT, "predict", bundle], 1.0),
        }
        times: dict[str, list[float]] = {label: [] for label in commands}
        for round_number in range(RUNS + 1):
            for label, (command, _) in commands.items():
                elapsed = _measure(command, row)
                if round_number:  # the first round warms up
                    times[label].append(elapsed)
    bare = statistics.median(times["python -c pass"])
    for label, (_, target) in commands.items():
        seconds = statistics.median(times[label])
        print(f"{label:<24}{seconds:7.3f} s  {seconds / bare:5.1f} × the interpreter")
        if target is not None:
            report(f"{label}, s", seconds, "<=", target)


def _measure(command: list[object], stdin: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run([str(word) for word in command], input=stdin, text=True, stdout=subprocess.DEVNULL, check=True,
                   env=environment)  # fmt: skip
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
