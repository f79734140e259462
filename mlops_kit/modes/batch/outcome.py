"""What the units of a run come to: too many bad rows, or a generation to publish."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from mlops_kit.errors import TooManyBadRowsError, UnfitRowsError
from mlops_kit.modes.batch.bad_rows import join_bad_rows
from mlops_kit.modes.batch.journal import UnitRecord
from mlops_kit.modes.batch.keys import check_keys
from mlops_kit.modes.batch.units import Plan
from mlops_kit.modes.batch.workspace import Run
from mlops_kit.tables.generation import Generation

HOPELESS = 2
"""A run ends early when the bad rows are so many times those allowed for all rows, which may be an estimate."""

Records = Mapping[str, UnitRecord]
"""The finished units, by part."""


def is_hopeless(records: Records, planned: int, most_bad: float) -> bool:
    """Whether there are too many bad rows by far, also of those read: what was planned may be an estimate."""
    bad, read = total_of(records, "bad"), total_of(records, "records")
    return bad > HOPELESS * most_bad * planned and bad > most_bad * read


def settle_bad_rows(plan: Plan, run: Run, records: Records, most_bad: float, target: Path) -> None:
    """Put the bad rows into one file, if there are any. Raises TooManyBadRowsError."""
    bad, read = total_of(records, "bad"), total_of(records, "records")
    if not bad:
        return
    in_order = [records[unit.part] for unit in plan.units if unit.part in records]
    commonest = join_bad_rows(((record, run.bad_rows(record.part)) for record in in_order), target)
    if bad > most_bad * read:
        raise TooManyBadRowsError(bad, read, most_bad, target, commonest)


def check_generation(generation: Generation, spill: Path, *, may_be_empty: bool) -> None:
    """Raise UnfitRowsError for what readers should not get. Large sets of keys spill to a folder."""
    if not generation.rows and not may_be_empty:
        why = "readers would lose what they have; perhaps the input is not there yet"
        raise UnfitRowsError("there is no row to publish", why, "look at INPUT and --where, or add --allow-empty")
    check_keys(generation.parts, generation.key, spill)


def generation_of(plan: Plan, run: Run, records: Records, schema: pa.Schema) -> Generation:
    """What is to be published once every unit is finished."""
    if len(records) < len(plan.units):
        raise RuntimeError("not every unit is finished")
    header, parts = run.header, tuple(run.parts / unit.part for unit in plan.units)
    rows = total_of(records, "rows")
    return Generation(header.name, header.digest, header.predicted_at, header.key, rows, schema, parts)


def total_of(records: Records, field: str) -> int:
    """A sum over the finished units."""
    return sum(getattr(record, field) for record in records.values())
