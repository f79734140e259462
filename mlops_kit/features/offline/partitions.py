"""Events on their way to the kernel, divided by key into portions that fit into memory, or spilled to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from mlops_kit.schema import Array

PARTITION_BYTES: Final = 2**22
"""Portions of so many bytes or less: they are sorted faster, too, because they stay in the processor's cache."""

MOST_PARTITIONS: Final = 4096

MOST_KEPT_BYTES: Final = 2**25
"""More is spilled even if there is memory. The system keeps files in what is free of it, and gives that back; and
writing to memory that was used before is faster than asking for more.
"""


def count_partitions(rows: int, row_bytes: int, memory_bytes: int, threads: int) -> int:
    """Into how many portions to divide so many events, so that each thread may work on one of them."""
    portion = min(PARTITION_BYTES, memory_bytes // (16 * threads))
    return min(max(-(-rows * row_bytes // max(portion, 1)), 1), MOST_PARTITIONS)


def divide(codes: Array, partitions: int) -> list[Array]:
    """The rows of each portion, in their order; those with code -1 are in none."""
    if partitions == 1:
        return [np.flatnonzero(codes >= 0)]
    portion = np.where(codes < 0, partitions, codes % partitions).astype(np.uint16)
    order = np.argsort(portion, kind="stable")
    ends = np.bincount(portion, minlength=partitions + 1).cumsum()[:-1]
    return np.split(order, ends)[:-1]


def sort_rows(codes: Array, times: Array, count: int) -> tuple[Array, Array]:
    """The rows by (code, time), else as they are; and where those of each of so many codes begin."""
    order = np.argsort(times, kind="stable")
    narrow = codes.astype(np.uint16) if count <= 2**16 else codes  # of which NumPy sorts 16 bits in one go
    order = order[np.argsort(narrow[order], kind="stable")]
    starts = np.concatenate([np.zeros(1, np.int64), np.bincount(codes, minlength=count).cumsum()])
    return order, starts


class Partitions:
    """Rows of int64, of one width; the rows of a portion keep the order in which they were added.

    For one thread while they are added. Then any thread may take any portion, once.
    """

    def __init__(self, count: int, width: int, most_bytes: int, folder: Path) -> None:
        """Above `most_bytes` they are appended to files in `folder`."""
        self.spilled_bytes = 0
        self._kept: list[list[Array]] = [[] for _ in range(count)]
        self._kept_bytes = 0
        self._width = width
        self._most_bytes = most_bytes
        self._folder = folder

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, portions: Sequence[Array]) -> None:
        """Add rows of each portion. Raises OSError if the disk is full."""
        for kept, rows in zip(self._kept, portions, strict=True):
            if len(rows):
                kept.append(rows)
                self._kept_bytes += rows.nbytes
        if self._kept_bytes > self._most_bytes:
            self._spill()

    def take(self, portion: int) -> Array:
        """All rows of a portion."""
        kept, self._kept[portion] = self._kept[portion], []
        path = self._path(portion)
        if path.exists():
            kept.insert(0, np.fromfile(path, np.int64).reshape(-1, self._width))
            path.unlink()
        return np.concatenate(kept) if kept else np.empty((0, self._width), np.int64)

    def _spill(self) -> None:
        for portion, kept in enumerate(self._kept):
            if kept:
                with self._path(portion).open("ab") as file:
                    for rows in kept:
                        rows.tofile(file)
                kept.clear()
        self.spilled_bytes += self._kept_bytes
        self._kept_bytes = 0

    def _path(self, portion: int) -> Path:
        return self._folder / f"{portion}.events"
