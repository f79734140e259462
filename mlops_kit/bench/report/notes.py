"""What limits the claims of a result: each said once, with the measurements that it is about."""

from collections.abc import Iterator

from mlops_kit.bench.figures import figure, percent, seconds
from mlops_kit.bench.results import BenchResult, Measurement

QUICK = (
    "a first picture: everything was measured once, and briefly. It can claim no interval, no difference of less "
    "than a fifth, and nothing of what happens rarely"
)
BUSY_LOAD = 0.3
"""Of the cores, in the minute before."""


def collect_notes(result: BenchResult) -> list[str]:
    """Parts of sentences: no capital, no full stop. The first one of a quick result says that it is one."""
    every = len(result.measurements)
    notes = [QUICK] if result.is_quick else []
    notes += [*_machine(result), *result.notes]
    for note, found in _by_note(result).items():
        cases = "all" if len(found) == every else "; ".join(_case(each) for each in found)
        notes.append(f"{note} ({cases})")
    return [*notes, *_starts(result), *_client(result)]


def _machine(result: BenchResult) -> Iterator[str]:
    load = result.machine.load_average
    if load is not None and load > BUSY_LOAD * result.machine.cores:
        yield f"the machine was busy with something else before: a load of {load:.1f}"


def _by_note(result: BenchResult) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for measurement in result.measurements:
        failed = [f"requests failed: {', '.join(sorted(measurement.errors))}"] if measurement.errors else []
        for note in (*measurement.notes, *failed):
            found.setdefault(note, []).append(measurement)
    return found


def _starts(result: BenchResult) -> Iterator[str]:
    starts = [
        f"{seconds(each.start_s)} ({_case(each)})" for each in result.measurements if each.start_s is not None
    ]
    if starts:
        yield f"starting a command, however many rows it has, is not in its rate: {', '.join(starts)}"


def _client(result: BenchResult) -> Iterator[str]:
    used = [each.client_cpu for each in result.measurements if each.client_cpu is not None]
    limits = {each.mode: each.client_limit for each in result.measurements if each.client_limit is not None}
    if used:
        reached = ", ".join(f"{figure(limit)} requests/s ({mode})" for mode, limit in limits.items())
        alone = f"; where nothing is to be done it reaches {reached}" if reached else ""
        yield f"the load client used at most {percent(max(used))} of its core{alone}"


def _case(measurement: Measurement) -> str:
    return f"{measurement.mode}, {measurement.scenario}"
