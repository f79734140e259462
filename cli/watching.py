"""A run as people watch it: a progress bar for each stage, and what Ctrl-C does meanwhile."""

import signal
from typing import Any

from . import console

READING = "reading"
"""The stage of which nothing is kept: a signal ends it at once."""


class Watching:
    """The first Ctrl-C or SIGTERM asks the run to stop, the second ends it. What was ignored before stays so."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._stage = ""
        self._bar: Any = None
        self._progress: Any = None
        self._task: Any = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Watching":
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(number)):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stage(self, name: str, total_rows: int | None) -> None:
        """Another bar."""
        self._close()
        self._stage = name
        self._bar = console.progress_bar(name, total_rows)
        self._progress, self._task = self._bar.__enter__()

    def advance(self, rows: int) -> None:
        """The bar grows."""
        self._progress.advance(self._task, rows)

    def should_stop(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None

    def _note(self, number: int, frame: object) -> None:
        if self.signal is not None or self._stage == READING:
            self.signal = number
            self._before[number](number, frame)
        self.signal = number
        console.note("finishing what is running; once more to stop at once")

    def _close(self) -> None:
        if self._bar:
            self._bar.__exit__(None, None, None)
            self._bar = None
