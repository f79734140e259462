"""What becomes of one unit: a part, a file of its bad rows, and a record that says that both are whole."""

from pathlib import Path

import pyarrow as pa

from mlops_kit.errors import UnfitRowsError
from mlops_kit.modes.batch.bad_rows import BadRowWriter, described
from mlops_kit.modes.batch.journal import UnitRecord
from mlops_kit.modes.batch.part import PartWriter
from mlops_kit.modes.batch.scoring import Scored
from mlops_kit.modes.batch.sources.interface import BadRow, Unit


class UnitWriter:
    """Writes the scored chunks of one unit, in order."""

    def __init__(
        self,
        unit: Unit,
        identity: str,
        schema: pa.Schema,
        part: Path,
        bad_rows: Path,
        *,
        stops_at_bad_row: bool = False,
        first_row: int | None,
    ) -> None:
        """`part` and `bad_rows` are the files to write; `first_row` is the number that the unit's first row has
        within its source, where that is known.
        """
        self._unit = unit
        self._identity = identity
        self._part = PartWriter(part, schema)
        self._bad = BadRowWriter(bad_rows, unit.source)
        self._stops_at_bad_row = stops_at_bad_row
        self._first_row = first_row
        self._records = 0

    def write(self, scored: Scored) -> None:
        """Add a chunk. Raises UnfitRowsError at a bad row if that is asked for, StoreError if the disk is full."""
        if scored.bad and self._stops_at_bad_row:
            raise self._refusal(scored.bad[0])
        self._part.write(scored.predictions)
        self._bad.write(scored.bad)
        self._records += scored.records

    def finish(self) -> UnitRecord:
        """Put both files in their places. The record is still to be written down."""
        self._bad.finish()
        file = self._part.finish()
        return UnitRecord(
            self._identity, self._unit.source, self._unit.part, self._records, self._part.rows, self._bad.rows,
            file.size, file.sha256,
        )  # fmt: skip

    def abandon(self) -> None:
        """Remove what was written."""
        self._part.abandon()
        self._bad.abandon()

    def _refusal(self, row: BadRow) -> UnfitRowsError:
        what = f"{self._unit.source}: {described(row.column, row.reason)}"
        if self._first_row is None:
            why = f"row {row.row} of one of the file's parts; --engine local counts from the file's beginning"
        else:
            why = f"row {self._first_row + row.row} of the file, counted from 0 and without a header"
        return UnfitRowsError(what, why, "mend the row, or leave out --errors fail: it is then put aside")
