"""Writers in processes of their own, which can be killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

from mlops_kit.stores.interface import Store, Write
from mlops_kit.stores.resolve import open_store

ROOT = Path(__file__).parents[2]
COUNTERS = [b"counter %d" % number for number in range(5)]
WHOLE = [b"whole %d" % number for number in range(40)]
PIECE_BYTES = 8


def count_up(store: Store, times: int) -> None:
    """Add one to every counter so often, in whichever order and with whoever else does."""
    left = dict.fromkeys(COUNTERS, times)
    while left:
        keys = sorted(left) if sum(left.values()) % 2 else sorted(left, reverse=True)
        found = store.read([("a", key) for key in keys])
        writes = [
            Write(key, b"%d" % (int(value.data) + 1 if value else 1), value.version if value else 0)
            for key, value in zip(keys, found, strict=True)
        ]
        for key, is_written in zip(keys, store.write("a", writes), strict=True):
            left[key] -= is_written
        left = {key: more for key, more in left.items() if more}


def overwrite(store: Store) -> None:
    """Write the same keys again and again; each value is its version, repeated."""
    for version in count(1):
        writes = [Write(key, whole_value(version, place), version - 1) for place, key in enumerate(WHOLE)]
        store.write("a", writes)
        print(version, flush=True)


def whole_value(version: int, place: int) -> bytes:
    return version.to_bytes(PIECE_BYTES, "big") * (1 + place * 300)


@contextmanager
def process(work: str, address: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.stores.processes", work, address, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


if __name__ == "__main__":
    _, work, address, *arguments = sys.argv
    with closing(open_store(address)) as opened:
        if work == "count_up":
            count_up(opened, int(arguments[0]))
        else:
            overwrite(opened)
