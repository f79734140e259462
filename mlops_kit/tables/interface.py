"""What a backend must do to store predictions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mlops_kit.tables.generation import Generation


@dataclass(frozen=True, slots=True)
class Published:
    """A generation that a table has, as its readers see it."""

    name: str
    digest: str
    predicted_at: str
    rows: int


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """One row of a table: the columns that were kept and the predictions, as JSON has them.

    Times are ISO 8601 text, NaN is None, and a float32 is a float that becomes the same float32 again.
    """

    values: Mapping[str, Any]
    digest: str
    predicted_at: str


class Table(Protocol):
    """A table whose readers see one whole generation, or the one before, and never a mixture.

    Every method may raise StoreError (the server is away, the disk is full) and may then be called again. A
    process may be killed at any moment, in the middle of any method; the next call, by another process, finds the
    table as its readers saw it, and cleans up what is half done. Two processes may publish at once: each
    generation is whole, and the one whose switch comes last is current.
    """

    def current(self) -> Published | None:
        """The generation that readers see; None if nothing was ever published."""

    def publish(self, generation: Generation, keep: int, on_rows: Callable[[int], None]) -> None:
        """Load the generation beside the current one, switch readers to it in one step, then retire old ones,
        so that `keep` generations (at least 1, the current one counted) are left.

        Publishing a generation again, after whatever happened the first time, is allowed and gives the same. What
        `on_rows` (rows just loaded) raises ends the loading, and the readers keep what they have.
        """

    def rollback(self) -> Published:
        """Switch readers to the generation published before the current one, and return it; the one rolled back is
        not offered again. Raises UsageError if there is none.
        """

    def get(self, key: Sequence[str]) -> StoredPrediction | None:
        """The row with this key, its values given as text in the order of `Generation.key`; None if there is none.

        Raises UsageError if the table has no key, or another number of key columns, or was never published.
        """

    def close(self) -> None:
        """Let go of connections and files."""
