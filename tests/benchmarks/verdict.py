"""How a benchmark says what it found: one line for each figure that matters, which `make bench` collects."""

import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS = {">=": operator.ge, "<=": operator.le, "<": operator.lt}
LINE = re.compile(r"RESULT (?P<name>.+): (?P<value>\S+) (?P<relation>>=|<=|<) (?P<target>\S+) (meets|MISSES)")


@dataclass(frozen=True)
class Verdict:
    """A figure beside its target. `relation` is one of COMPARISONS."""

    name: str
    value: float
    relation: str
    target: float

    @property
    def is_met(self) -> bool:
        return bool(COMPARISONS[self.relation](self.value, self.target))

    def __str__(self) -> str:
        """One line. A figure near its target has so many digits that it does not look as if it were it."""
        verdict = "meets" if self.is_met else "MISSES"
        return f"RESULT {self.name}: {self.value:.6g} {self.relation} {self.target:.6g} {verdict}"


def report(name: str, value: float, relation: str, target: float) -> None:
    """Print it. `name` says what is compared with what, and in which unit if it is no ratio."""
    print(Verdict(name, value, relation, target), flush=True)


def read_verdicts(output: str) -> Iterator[Verdict]:
    """All that a benchmark has printed."""
    for found in LINE.finditer(output):
        yield Verdict(found["name"], float(found["value"]), found["relation"], float(found["target"]))
