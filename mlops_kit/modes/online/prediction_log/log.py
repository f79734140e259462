"""The event loop appends references to a bounded queue; one thread makes columns of them, and writes parts."""

import itertools
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from mlops_kit.modes.online.batch import Answer
from mlops_kit.modes.online.metrics.layout import LOSSES
from mlops_kit.modes.online.prediction_log.entries import Entry, frame_of_entries
from mlops_kit.modes.online.prediction_log.parts import write_part
from mlops_kit.modes.online.served_model import Request, ServedModel
from mlops_kit.schema import Array

log = logging.getLogger("mlkit.serve")

LOOK_S = 0.25
"""How often the thread works: it and the event loop share the interpreter's lock, and few large steps cost less
than many small ones.
"""

CHUNK = 4096
"""Entries that become columns at a time."""

ENTRY_BYTES = 1000
"""What an entry takes beside its arrays."""

WARN_S = 60.0
EXPLAINED = {
    "full": "the queue of the log is full",
    "unfit": "their inputs or outputs have not the types or shapes of the model's signature",
}
"""Losses that are told of every WARN_S; what cannot be written is told of at once."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """`queue_bytes` may wait, beyond which requests are not logged; a part is written when `part_bytes` are
    there, or after `part_s`: so much is lost when the process is killed.
    """

    queue_bytes: int = 64 * 2**20
    part_bytes: int = 32 * 2**20
    part_s: float = 30.0


class PredictionLog:
    """A log of one process; others may write in the same folder. `add` is called on one thread."""

    def __init__(self, folder: Path, limits: LogLimits | None = None) -> None:
        """`folder` is prepared already."""
        self._folder = folder
        self._limits = limits or LogLimits()
        self._entries: deque[tuple[Entry, int]] = deque()
        # Each has one writer, so that neither needs a lock: the event loop, and the thread.
        self._added_bytes = 0
        self._taken_bytes = 0
        self._dropped = 0
        self._unfit = 0
        self._unwritten = 0
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._parts: dict[tuple[str, str, str], list[pl.DataFrame]] = {}
        self._parts_since = 0.0
        self._parts_bytes = 0
        self._told: tuple[float, Mapping[str, int]] = (-WARN_S, self.losses)
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._write_until_closed, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def losses(self) -> Mapping[str, int]:
        """Requests that are not in the log, by the reason, which is one of LOSSES."""
        return dict(zip(LOSSES, (self._dropped, self._unfit, self._unwritten), strict=True))

    def add(self, model: ServedModel, request: Request, answer: Answer, started: float, id: str = "") -> str:  # noqa: A002
        """Log what was answered to a request that arrived at `started`, of time.perf_counter(). Never waits.

        Returns the request's id, which is made up if it has none.
        """
        id = id or f"{self._name}-{next(self._numbers):x}"  # noqa: A001
        if request.asked and not request.rows:
            return id  # it was not looked up
        tensors = request.tensors
        size = ENTRY_BYTES + len(id) + _bytes_of(tensors.values()) + _bytes_of(answer.outputs)
        waiting = self._added_bytes - self._taken_bytes + size
        if waiting > self._limits.queue_bytes:
            self._dropped += 1
            return id
        if waiting > self._limits.queue_bytes // 2:
            self._wake.set()
        latency_s = time.perf_counter() - started
        arrived = time.time_ns() - int(latency_s * 1e9)
        entry = Entry(
            model.name, model.digest, model.predictor.signature, id, arrived, latency_s,
            request.rows, tensors, answer.outputs, request.asked,
            model.lookup.vector_log if model.lookup else None,
        )  # fmt: skip
        self._added_bytes += size
        self._entries.append((entry, size))
        return id

    def close(self) -> None:
        """Write what is there, and end. It takes as long as the disk does."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _write_until_closed(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(LOOK_S)
            self._wake.clear()
            while len(self._entries) >= CHUNK:
                self._take()
            self._take()
            self._write_parts(is_due=self._is_due())
            self._tell_losses()
        while self._take():
            pass
        self._write_parts(is_due=True)
        self._told = (-WARN_S, self._told[1])
        self._tell_losses()

    def _take(self) -> bool:
        """Make columns of some entries. Whether there were any."""
        taken = [self._entries.popleft() for _ in range(min(CHUNK, len(self._entries)))]
        groups: dict[tuple[str, str, str], list[Entry]] = {}
        for entry, _ in taken:
            groups.setdefault(_part_of(entry), []).append(entry)
        for part, entries in groups.items():
            for frame in self._frames(entries):
                self._parts_since = self._parts_since if self._parts else time.monotonic()
                self._parts_bytes += int(frame.estimated_size())
                self._parts.setdefault(part, []).append(frame)
        self._taken_bytes += sum(size for _, size in taken)
        return bool(taken)

    def _frames(self, entries: Sequence[Entry]) -> Iterator[pl.DataFrame]:
        """Columns of all but those that do not fit, which halving finds: most often, there are none."""
        try:
            frame = frame_of_entries(entries)
        except (Exception, pl.exceptions.PanicException):  # noqa: BLE001 - it is counted, and told once a minute
            if len(entries) == 1:
                self._unfit += 1
                return
            middle = len(entries) // 2
            yield from self._frames(entries[:middle])
            yield from self._frames(entries[middle:])
        else:
            yield frame

    def _is_due(self) -> bool:
        is_old = time.monotonic() - self._parts_since >= self._limits.part_s
        return is_old or self._parts_bytes >= self._limits.part_bytes

    def _write_parts(self, *, is_due: bool) -> None:
        if not is_due:
            return
        parts, self._parts, self._parts_bytes = self._parts, {}, 0
        for (model, _, day), frames in parts.items():
            try:
                write_part(self._folder, model, day, pl.concat(frames))
            except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
                requests = sum(int((frame["row"] == 0).sum()) for frame in frames)
                self._unwritten += requests
                # What Polars says may show values.
                reason = error if isinstance(error, OSError) else type(error).__name__
                log.error("predictions of %d requests could not be logged: %s", requests, reason)  # noqa: TRY400

    def _tell_losses(self) -> None:
        last, told = self._told
        now, losses = time.monotonic(), self.losses
        if losses == told or now - last < WARN_S:
            return
        for reason, explained in EXPLAINED.items():
            if new := losses[reason] - told[reason]:
                log.warning("%d requests are not logged, because %s", new, explained)
        self._told = (now, losses)


def _part_of(entry: Entry) -> tuple[str, str, str]:
    day = datetime.fromtimestamp(entry.time_ns // 10**9, UTC).date()
    return entry.model, entry.digest, day.isoformat()


def _bytes_of(arrays: Iterable[Array]) -> int:
    """Of text, about the bytes of the characters, too, which are not in the array."""
    size = 0
    for array in arrays:
        size += array.nbytes
        if array.dtype == object:
            size += sum(map(len, array.flat))
    return size
