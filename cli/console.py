"""What people see: results on stdout, everything else on stderr, errors as what, why and what to try."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def print_json(document: Any) -> None:
    """The one document of `--json`, on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """Send to stderr what frameworks print to stdout, from Python or from C, because stdout is for the result."""
    sys.stdout.flush()
    kept = os.dup(sys.stdout.fileno())
    try:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, sys.stdout.fileno())
        os.close(kept)


def print_line(text: str = "") -> None:
    """One line of the result, on stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A remark for a person, on stderr."""
    sys.stderr.write(text + "\n")


def print_error(what: str, why: str = "", fix: str = "") -> None:
    """An error on stderr: what happened, why, and what to do next."""
    lines = [f"{styled('error:', '1;31', sys.stderr)} {what}"]
    if why:
        lines.append(f"  why: {why}")
    if fix:
        lines.append(f"  try: {fix}")
    sys.stderr.write("\n".join(lines) + "\n")


def styled(text: str, code: str, stream: IO[str]) -> str:
    """`text` in an ANSI style, where the stream is a terminal that wants colour."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{code}m{text}\033[0m"


def table_console() -> "Console":
    """A console for tables on stdout, as wide as the content needs when it is not a terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False, emoji=False)


@contextmanager
def progress_bar(description: str, total: int | None) -> "Iterator[tuple[Progress, Any]]":
    """A progress bar with rate and time left on stderr; invisible where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn("{task.percentage:>3.0f} %"),
        RateColumn(),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        yield progress, progress.add_task(description, total=total)


def human_bytes(size: int) -> str:
    """A size for people.

    >>> human_bytes(512), human_bytes(1_234_567)
    ('512 B', '1.2 MB')
    """
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
