"""What a join may use, whom it tells, and what it has done."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from mlops_kit.schema import Array

DEFAULT_MEMORY: Final = 4 * 10**9


class Progress(Protocol):
    """Somebody who watches."""

    def stage(self, name: str, total: int) -> None:
        """Another part of the work begins, with so many rows."""

    def advance(self, rows: int) -> None:
        """Rows of this stage are done."""


class Unwatched:
    """Nobody does."""

    def stage(self, name: str, total: int) -> None:
        """Nothing."""

    def advance(self, rows: int) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Resources:
    """How much memory rows may take, in bytes and roughly; how many threads; and the folder to spill to."""

    folder: Path
    memory_bytes: int = DEFAULT_MEMORY
    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    progress: Progress = field(default_factory=Unwatched)


@dataclass(slots=True)
class JoinReport:
    """What was done. `events_read` are rows of histories and tables, before any were left out.

    `refused`: source → reason → how many were left out for it, of those that were looked at.
    """

    rows: int = 0
    events_read: int = 0
    spilled_bytes: int = 0
    seconds: float = 0.0
    refused: dict[str, Counter[str]] = field(default_factory=dict)

    def refuse(self, source: str, by_reason: Mapping[str, Array]) -> None:
        """Count rows that were left out."""
        if by_reason:
            counter = self.refused.setdefault(source, Counter())
            counter.update({reason: len(rows) for reason, rows in by_reason.items()})

    @property
    def warnings(self) -> list[str]:
        """What was left out, in words."""
        return [
            f"{source}: {count:,} left out, because {reason}"
            for source, counter in self.refused.items()
            for reason, count in counter.items()
        ]
