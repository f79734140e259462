"""Events that are in no state, kept in a file with the reason."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from mlops_kit.errors import UsageError

BEGINNING: Final = b'{"source":'
DIGEST_BYTES: Final = 16

Letter = Mapping[str, Any]


class DeadLetters:
    """Appends letters to a file of NDJSON, each once: after a crash, events are pushed again."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError for a file that cannot be written, or that has something else."""
        try:
            # Without a buffer, so that no part of a line is written before the rest.
            self._file = path.open("ab", buffering=0)
            self._is_kept = path.is_file()
            self._known = self._read(path) if self._is_kept else set[bytes]()
        except OSError as error:
            why = error.strerror or str(error)
            raise UsageError(f"{path}: cannot be written", why, "check --dead-letter") from error

    def bury(self, letters: Iterable[Letter]) -> None:
        """Write those that are not there; they are on the disk afterwards."""
        lines = [orjson.dumps(one, default=str, option=orjson.OPT_APPEND_NEWLINE) for one in letters]
        new = {digest: line for line in lines if (digest := _digest(line)) not in self._known}
        if new:
            self._file.write(b"".join(new.values()))
            if self._is_kept:
                os.fsync(self._file.fileno())
            self._known |= new.keys()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _read(self, path: Path) -> set[bytes]:
        """What is in it, without a line that a killed process did not finish: it was not acknowledged, either."""
        known, end = set[bytes](), 0
        with path.open("rb") as file:
            for line in file:
                if not (line.startswith(BEGINNING) or BEGINNING.startswith(line)):
                    raise UsageError(f"{path}: no file of dead letters", "it has other lines", "name another file")
                if line.endswith(b"\n"):
                    known.add(_digest(line))
                    end += len(line)
        self._file.truncate(end)
        return known


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=DIGEST_BYTES).digest()
