"""What people see: results on stdout, everything else on stderr, errors as what, why and what to try."""

import json
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from mlops_kit.errors import StoreError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


STDOUT, STDERR = 1, 2


def print_json(document: Any) -> None:
    """The one document of `--json`, on stdout."""
    is_ascii = sys.stdout is None or sys.stdout.encoding.lower() != "utf-8"
    print_line(json.dumps(document, indent=2, allow_nan=False, ensure_ascii=is_ascii))


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
    """One line of the result, on stdout, if that is not closed."""
    if sys.stdout is not None:
        with _stdout_errors():
            sys.stdout.write(text + "\n")


def flush() -> None:
    """Make sure that what was printed is out. Raises StoreError; BrokenPipeError where nobody reads any more."""
    if sys.stdout is not None:
        with _stdout_errors():
            sys.stdout.flush()


@contextmanager
def _stdout_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        forget_stdout()
        why = error.strerror or str(error)
        raise StoreError("stdout: cannot be written", why, "look at where it goes") from error


def forget_stdout() -> None:
    """Let what is still to be written vanish: Python would try once more at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)


def fill_closed_descriptors() -> None:
    """Open what was started closed (`>&-`), or the next file would get its number, and what libraries print."""
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(nowhere)


def note(text: str) -> None:
    """A remark for a person, on stderr, if that is not closed."""
    if sys.stderr is not None:
        sys.stderr.write(_wrapped(text) + "\n")


def print_error(what: str, why: str = "", fix: str = "") -> None:
    """An error on stderr: what happened, why, and what to do next."""
    if sys.stderr is not None:
        parts = ("error: " + what, why and "  why: " + why, fix and "  try: " + fix)
        text = "\n".join(_wrapped(part) for part in parts if part)
        sys.stderr.write(text.replace("error:", styled("error:", "1;31", sys.stderr), 1) + "\n")


def _wrapped(text: str) -> str:
    """On a terminal, broken between words; elsewhere as it is, for whoever searches it."""
    if not sys.stderr.isatty():
        return text
    width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return textwrap.fill(text, width, subsequent_indent=" " * 7, break_long_words=False, break_on_hyphens=False)


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
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
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
