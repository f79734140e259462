"""Cleans up after a bench that was killed, which cannot do so itself.

This file is also a program: a process that waits until nobody holds the other end of its stdin any more. It ends
what was left running, and removes the folder. It imports next to nothing, to be there at once.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

STOP_S, LOOK_S = 10.0, 0.05
BEGUN, ENDED = "+", "-"


class Caretaker:
    """Is told which processes to end."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    @contextmanager
    def minding(self, process: "subprocess.Popen[str]") -> Iterator[None]:
        """A process that has just been started, and has ended when the block ends."""
        self._tell(BEGUN, process.pid)
        try:
            yield
        finally:
            self._tell(ENDED, process.pid)

    def _tell(self, what: str, pid: int) -> None:
        with suppress(BrokenPipeError):  # somebody killed the caretaker; nobody else is worse off
            self._pipe.write(f"{what}{pid}\n".encode())


@contextmanager
def caretaker(folder: Path) -> Iterator[Caretaker]:
    """While the block runs; `folder` is the caller's to remove if it ends as it should."""
    line = [sys.executable, "-I", "-S", __file__, str(folder)]
    # In a session of its own, Ctrl-C does not reach it.
    with subprocess.Popen(line, stdin=subprocess.PIPE, bufsize=0, start_new_session=True) as process:
        if process.stdin is None:
            raise RuntimeError("stdin is a pipe")
        try:
            yield Caretaker(process.stdin)
        finally:
            process.kill()


def clean_up(folder: Path, lines: Iterator[str]) -> None:
    """Once there are no more lines: end the processes that are still there, and remove the folder."""
    left: set[int] = set()
    for line in lines:
        (left.add if line[0] == BEGUN else left.discard)(int(line[1:]))
    for pid in left:
        _send(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while (left := {pid for pid in left if _send(pid, 0)}) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    for pid in left:
        _send(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _send(pid: int, number: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    clean_up(Path(sys.argv[1]), iter(sys.stdin))
