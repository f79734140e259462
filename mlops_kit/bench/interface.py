"""What a mode must do to be measured, and what it is measured with.

Every module of `mlops_kit.bench.modes` is a mode, called after its file. It has

- `why_not(subject) -> str`: what it lacks to be measured here, for instance a package; empty if nothing.
- `open_mode(subject)`: a context manager that gives a RunningMode and leaves nothing behind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import polars as pl

from mlops_kit.bench.caretaker import Caretaker
from mlops_kit.bench.load.interface import Target
from mlops_kit.schema import Columns, Signature

SINGLE_STREAM, MULTI_STREAM, SERVER, OFFLINE = "single-stream", "multi-stream", "server", "offline"
SCENARIOS = (SINGLE_STREAM, MULTI_STREAM, SERVER, OFFLINE)


@dataclass(frozen=True, slots=True)
class Subject:
    """What all modes predict.

    - `bundle`: its directory, which is the same from every folder.
    - `command`: how mlkit is started in a process of its own.
    - `folder`: where a mode may put files; it is removed in the end. `caretaker` does so, and ends what it minds,
      if the bench is killed.
    - `stored`: the rows, with the model's columns only, as they are in the data.
    - `asked`: some of them, in random order: what requests ask for, and what all modes are compared on.
    - `redis`: the URL of a server for stored answers, or empty; `password` is that server's.
    - `is_quick`: a first picture is enough.
    """

    bundle: Path
    command: tuple[str, ...]
    folder: Path
    caretaker: Caretaker
    signature: Signature
    stored: pl.DataFrame
    asked: pl.DataFrame
    redis: str = ""
    password: str = field(default="", repr=False)
    is_quick: bool = False


@dataclass(frozen=True, slots=True)
class StageSums:
    """Seconds that requests have spent in each stage so far, and how many requests that were."""

    requests: float
    seconds: Mapping[str, float]

    def since(self, before: "StageSums") -> dict[str, float]:
        """The mean seconds of each stage, of the requests after `before`."""
        requests = self.requests - before.requests
        if not requests:
            return {}
        return {name: (now - before.seconds[name]) / requests for name, now in self.seconds.items()}


@dataclass(frozen=True, slots=True)
class Scored:
    """What a run over many rows took. `start_s` is what is not counted in `seconds`: starting it."""

    rows: int
    seconds: float
    peak_memory_bytes: int
    stored_bytes_per_row: float | None = None
    start_s: float | None = None


class RunningMode(Protocol):
    """A mode while it is measured. Only the methods of its scenarios are called, and `answers`."""

    @property
    def scenarios(self) -> Sequence[str]:
        """Those that make sense."""

    def await_ready(self) -> None:
        """Return once it can be asked. Modes start side by side, and nothing is measured meanwhile."""

    def answers(self) -> Columns:
        """The predictions of all rows of `subject.asked`, in their order, taken the way that is measured. A number
        that the mode cannot express, as JSON cannot express infinity, is NaN.
        """

    def target(self, rows: int) -> Target:
        """How the load client asks for so many rows at once. Not for offline."""

    def stage_sums(self) -> StageSums:
        """As the mode itself counts them; no stages at all where it does not."""

    def peak_memory(self) -> int | None:
        """Bytes that its own processes have taken; None where it has none of its own."""

    def score(self, seconds: float) -> Scored:
        """Predict stored rows, about so long. Only for offline."""
