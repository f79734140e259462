"""An Arrow IPC stream on stdin."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_kit.errors import InputError, UsageError
from mlops_kit.modes.batch.sources.extract.interface import Query
from mlops_kit.modes.batch.sources.extract.spool import write_spool

SUFFIX = ".parquet"

FILE_MAGIC = b"ARROW1"
OTHERS = {b"PAR1": "Parquet", b"{": "JSON"}
"""By the first bytes: what people pipe here by mistake."""
TEXT = re.compile(rb"[\t\n\r -~]+")


def extract(_query: Query, target: Path, on_rows: Callable[[int], None]) -> Sequence[str]:
    """Copy the stream. Raises UsageError where stdin is a terminal, InputError for what is no such stream."""
    if sys.stdin is None:
        raise UsageError("stdin is closed", "INPUT - reads an Arrow IPC stream", "pipe one into this command")
    if sys.stdin.isatty():
        raise UsageError("stdin is a terminal", "INPUT - reads an Arrow IPC stream", "pipe one into this command")
    stdin: Any = sys.stdin.buffer
    if kind := _other_kind(stdin.peek(len(FILE_MAGIC))[: len(FILE_MAGIC)]):
        raise InputError(
            f"stdin has {kind}", "INPUT - reads an Arrow IPC stream", "name the file, or write a stream"
        )
    with _stream_errors():
        reader = pa.ipc.open_stream(stdin)
    return write_spool(reader.schema, _whole(reader, stdin), target, on_rows)


def _whole(reader: pa.RecordBatchStreamReader, stdin: Any) -> Iterator[pa.RecordBatch]:
    while True:
        with _stream_errors():
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                _refuse_more(stdin)
                return
            # Lengths and offsets are the sender's word; text is checked with the rows.
            batch.validate()
        yield batch


def _refuse_more(stdin: Any) -> None:
    if stdin.read(1):
        why = "rows after its end would be left out"
        raise InputError("stdin has more than one Arrow IPC stream", why, "write all rows into one stream")


@contextmanager
def _stream_errors() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        why = str(error).split("\n", 1)[0]
        raise InputError(
            "stdin has no whole Arrow IPC stream", why, "look at what writes into the pipe"
        ) from error


def _other_kind(start: bytes) -> str:
    if start.startswith(FILE_MAGIC):
        return "an Arrow IPC file, not a stream"
    other = "text" if TEXT.fullmatch(start) else ""
    return next((kind for magic, kind in OTHERS.items() if start.startswith(magic)), other)
