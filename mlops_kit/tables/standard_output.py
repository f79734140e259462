"""An Arrow IPC stream on stdout: nothing until all of it is there, and then all of it."""

import sys
from collections.abc import Callable, Sequence

import pyarrow as pa

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.tables.address import Address
from mlops_kit.tables.generation import Generation
from mlops_kit.tables.interface import Published, StoredPrediction


def open_table(_address: Address, _password: str = "") -> "StandardOutput":
    """The stream. Raises UsageError where stdout is a terminal."""
    if sys.stdout is None:
        raise UsageError("stdout is closed", "--out - writes an Arrow IPC stream", "pipe it into something")
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal", "--out - writes an Arrow IPC stream", "pipe it into something")
    return StandardOutput()


class StandardOutput:
    """Has readers only while it is written, and no generation before."""

    def current(self) -> Published | None:
        """None: what was piped is gone."""
        return None

    def publish(self, generation: Generation, keep: int, on_rows: Callable[[int], None]) -> None:  # noqa: ARG002
        """Write every row, in order."""
        try:
            # Closing it writes the mark of a whole stream: not before it is one.
            stream = pa.ipc.new_stream(sys.stdout.buffer, generation.schema)
            for batch in generation.batches():
                stream.write_batch(batch)
                on_rows(batch.num_rows)
            stream.close()
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise  # whoever read it has enough
        except OSError as error:
            why = error.strerror or str(error)
            raise StoreError("stdout: cannot be written", why, "look at what reads from the pipe") from error

    def rollback(self) -> Published:
        """Raises UsageError, always."""
        raise UsageError("stdout cannot be rolled back", fix="name a folder or a table")

    def get(self, key: Sequence[str]) -> StoredPrediction | None:  # noqa: ARG002
        """Raises UsageError, always."""
        raise UsageError("nothing is stored on stdout", fix="name a folder or a table")

    def close(self) -> None:
        """Nothing to let go of."""
