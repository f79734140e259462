"""Which units of a run are finished already, here or in the generation before."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from mlops_kit.bundle.files import hash_file
from mlops_kit.modes.batch.journal import UnitRecord
from mlops_kit.modes.batch.sources.interface import Unit
from mlops_kit.modes.batch.workspace import ATTEMPTS, Run

LAYOUT = 1
"""Changes when parts are written in another way, so that no run mixes two."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Every unit of a run, in order, with its identity: two units of one identity have the same predictions."""

    units: tuple[Unit, ...]
    identities: Mapping[str, str]
    """Part → identity."""

    def is_done_by(self, run: Run) -> bool:
        """Whether the run has all of these units and no others, and their files are as they were."""
        recorded = {part: record.unit for part, record in run.journal.units.items()}
        return recorded == dict(self.identities) and len([*self.finished(run)]) == len(self.units)

    def finished(self, run: Run) -> Iterator[UnitRecord]:
        """The units that the run has finished and whose files are as they were."""
        for unit in self.units:
            record = run.journal.units.get(unit.part)
            if record and record.unit == self.identities[unit.part] and _is_intact(run, record):
                yield record


def plan_units(
    units: Sequence[Unit], digest: str, schema: pa.Schema, keep: Sequence[str], where: str | None
) -> Plan:
    """Name each unit by everything that its predictions depend on."""
    settings = [LAYOUT, digest, list(keep), where, schema.to_string()]
    identities = {
        unit.part: hashlib.sha256(
            msgspec.json.encode([*settings, unit.source, unit.part, unit.fingerprint])
        ).hexdigest()
        for unit in units
    }
    return Plan(tuple(units), identities)


def finished_units(plan: Plan, run: Run, before: Run | None) -> dict[str, UnitRecord]:
    """The records of those that need no scoring, by part; the run has the files then, and no others."""
    records = {record.part: record for record in plan.finished(run)}
    _tidy(run, records)
    if before:
        missing = [record for record in plan.finished(before) if record.part not in records]
        for record in missing:
            _take_over(record, before, run)
            records[record.part] = record
    return records


def _tidy(run: Run, records: Mapping[str, UnitRecord]) -> None:
    """Remove what an earlier attempt left in the run's folder and is not recorded as finished."""
    shutil.rmtree(run.directory / ATTEMPTS, ignore_errors=True)
    for path in run.parts.rglob("*"):
        if not path.is_dir() and str(path.relative_to(run.parts)) not in records:
            path.unlink()


def _take_over(record: UnitRecord, before: Run, run: Run) -> None:
    """Give a unit of an earlier generation to this one, without copying where the disk can link."""
    _link(before.parts / record.part, run.parts / record.part)
    if record.bad:
        _link(before.bad_rows(record.part), run.bad_rows(record.part))


def _is_intact(run: Run, record: UnitRecord) -> bool:
    part = run.parts / record.part
    if record.bad and not run.bad_rows(record.part).is_file():
        return False
    return part.is_file() and part.stat().st_size == record.size and hash_file(part) == record.sha256


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
