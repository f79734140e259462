"""What a bench is asked to do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Notify = Callable[[str], None]
"""Told what happens, in a line for people."""


@dataclass(frozen=True, slots=True)
class BenchJob:
    """- `command`: how mlkit is started in a process of its own.
    - `modes`: names, or what names begin with ("online"); all that can be measured here if there are none.
    - `scenarios`: all that a mode has if there are none; a quick bench leaves out multi-stream then.
    - `redis`: the URL of a server for stored answers, or empty.
    - `duration_s`: for each scenario of each mode; `is_quick` does without.
    """

    bundle: str
    data: Path
    command: tuple[str, ...]
    modes: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    slo_s: float = 0.1
    duration_s: float = 10.0
    price_per_hour: float = 0.1
    is_quick: bool = False
    redis: str = ""
    password: str = field(default="", repr=False)
