"""Readers and publishers in processes of their own, which can be watched, and killed."""

import json
import pickle
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mlops_kit.tables.generation import Generation
from mlops_kit.tables.interface import Table
from mlops_kit.tables.resolve import open_table, resolve_address

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.tables.processes")


class Reader:
    """Reads the same key again and again, as fast as it can, until it is stopped."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.seen: list[dict[str, Any]] = []
        """Every different answer in turn: `digest` and `values`, or None where there was no row."""

    def wait_for(self, digest: str) -> None:
        """Return when the reader has seen this generation."""
        while not self.seen or self.seen[-1] is None or self.seen[-1]["digest"] != digest:
            self.seen.append(self._next())

    def _next(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the reader has failed"
        return json.loads(line)


@contextmanager
def reader(address: str, key: str) -> Iterator[Reader]:
    with _child("read", address, key) as process:
        yield Reader(process)


@contextmanager
def publisher(address: str, generation: Generation, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Writes "loaded" to stdout whenever rows are, then waits for a line on stdin; "published" is the last line."""
    with _child("publish", address, _pickled(generation, folder)) as process:
        yield process


def publish_with_little_room(address: str, generation: Generation, folder: Path, file_bytes: int) -> str:
    """Publish where no file can grow beyond a size, and return what the process wrote to stderr when it failed."""
    limit = (file_bytes, file_bytes)
    done = subprocess.run(
        [*PROGRAM, "publish", address, _pickled(generation, folder)], cwd=ROOT, text=True, capture_output=True,
        stdin=subprocess.DEVNULL, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr


def _pickled(generation: Generation, folder: Path) -> str:
    path = folder / f"{generation.name}.pickle"
    path.write_bytes(pickle.dumps(generation))
    return str(path)


@contextmanager
def _child(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    pipe = subprocess.PIPE
    with subprocess.Popen([*PROGRAM, *arguments], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _read(table: Table, key: str) -> None:
    last = ""
    while True:
        found = table.get([key])
        line = json.dumps(found and {"digest": found.digest, "values": found.values})
        if line != last:
            print(line, flush=True)
        last = line


def _publish(table: Table, pickled: str) -> None:
    def pause(rows: int) -> None:
        print("loaded", flush=True)
        sys.stdin.readline()

    table.publish(pickle.loads(Path(pickled).read_bytes()), keep=2, on_rows=pause)
    print("published", flush=True)


if __name__ == "__main__":
    _, work, address, argument = sys.argv
    with closing(open_table(resolve_address(address))) as opened:
        {"read": _read, "publish": _publish}[work](opened, argument)
