"""The run manifest: what a run is, and which of its units are finished. One line of JSON for each, synced."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from mlops_kit.bundle.files import sync


class RunHeader(msgspec.Struct, frozen=True, tag="run"):
    """What the run was started for."""

    name: str
    digest: str
    predicted_at: str
    key: tuple[str, ...]


class UnitRecord(msgspec.Struct, frozen=True, tag="unit"):
    """A finished unit. `unit` identifies input, bundle and settings; `records` were read, `rows` predicted and
    `bad` refused (the rest was filtered out); size and SHA-256 are those of its part.
    """

    unit: str
    source: str
    part: str
    records: int
    rows: int
    bad: int
    size: int
    sha256: str


class Completion(msgspec.Struct, frozen=True, tag="published"):
    """The generation was published; nothing is left to do."""

    rows: int
    bad: int


Line = RunHeader | UnitRecord | Completion


@dataclass(frozen=True, slots=True)
class JournalContent:
    """What a journal says; `units` by part."""

    header: RunHeader
    units: dict[str, UnitRecord]
    completion: Completion | None


class Journal:
    """A journal that is being written. Not for several threads."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def append(self, line: Line) -> None:
        """Write a line; when this returns, it survives a power failure."""
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def read_journal(path: Path) -> JournalContent | None:
    """Read as far as it is whole, since a crash may have torn the last line; None where not even the first is."""
    header: RunHeader | None = None
    units: dict[str, UnitRecord] = {}
    completion: Completion | None = None
    for line in _whole_lines(path):
        match line:
            case RunHeader():
                header = line
            case UnitRecord():
                units[line.part] = line
            case Completion():
                completion = line
    return JournalContent(header, units, completion) if header else None


@contextmanager
def open_journal(path: Path, content: JournalContent) -> Iterator[Journal]:
    """Put a journal with this content in the place of the one that is there, and write on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        journal = Journal(file)
        lines: tuple[Line, ...] = (
            content.header,
            *content.units.values(),
            *([content.completion] if content.completion else []),
        )
        file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines[:-1]))
        journal.append(lines[-1])
        temporary.replace(path)
        sync(path.parent)
        yield journal


def _whole_lines(path: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            try:
                yield decoder.decode(raw)
            except msgspec.MsgspecError:
                return
