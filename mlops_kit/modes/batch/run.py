"""A batch run from beginning to end: plan, score what is not finished, check, publish."""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mlops_kit.errors import InputError, StoppedError, TooManyBadRowsError, UsageError
from mlops_kit.loading import load
from mlops_kit.modes.batch.bad_rows import join_bad_rows
from mlops_kit.modes.batch.engines import check_engine, find_engine
from mlops_kit.modes.batch.job import BatchJob, BatchReport, Watcher
from mlops_kit.modes.batch.journal import Completion, Journal, JournalContent, RunHeader, UnitRecord, open_journal
from mlops_kit.modes.batch.keys import check_key_columns, check_keys
from mlops_kit.modes.batch.scoring import Scorer, check_kept
from mlops_kit.modes.batch.sources.extract.folder import ExtractFolder
from mlops_kit.modes.batch.sources.extract.resolve import STDIN, find_query
from mlops_kit.modes.batch.sources.interface import Source
from mlops_kit.modes.batch.sources.resolve import open_files
from mlops_kit.modes.batch.sources.where import RowFilter
from mlops_kit.modes.batch.units import Plan, plan_units, take_over, tidy
from mlops_kit.modes.batch.work import Work
from mlops_kit.modes.batch.workspace import Run, Workspace, open_workspace
from mlops_kit.modes.memory import peak_memory
from mlops_kit.predictor import Predictor
from mlops_kit.tables.address import FOLDER, STDOUT, Address
from mlops_kit.tables.generation import Generation, name_generation
from mlops_kit.tables.interface import Table
from mlops_kit.tables.resolve import KEY_VALUE_STORES, open_table, resolve_address

HOPELESS = 2
"""A run ends early when the bad rows are so many times those allowed for all rows, which may be an estimate."""


def run_batch(job: BatchJob, watcher: Watcher) -> BatchReport:
    """Carry out the job. Running it again, after whatever ended it, goes on where it was.

    Raises UsageError, InputError, BundleError and StoreError; TooManyBadRowsError if there were more than allowed;
    StoppedError if the watcher stopped it. Then readers keep what they had.
    """
    started = time.perf_counter()
    address = resolve_address(job.out)
    if address.scheme in KEY_VALUE_STORES and not job.key:
        raise UsageError(f"{address}: no key", "a key-value store looks up by nothing else", "add --key COLUMNS")
    if not 0 <= job.most_bad <= 1:
        raise UsageError(f"--max-bad-rows {job.most_bad}: no share", fix="give a number from 0 to 1")
    job = replace(job, keep=tuple(dict.fromkeys((*job.key, *job.keep))))
    _refuse_nesting(job, address)
    check_engine(job)
    predictor = load(job.bundle)
    check_kept(predictor, job.keep)
    with open_workspace(_root(job, address)) as workspace, closing(open_table(address, job.password)) as table:
        report = _Batch(job, address, predictor, workspace, table, watcher).carry_out()
    return replace(report, seconds=time.perf_counter() - started, peak_memory=peak_memory())


def _refuse_nesting(job: BatchJob, address: Address) -> None:
    """An output inside of the input would be read by the next run."""
    if address.scheme == FOLDER and job.input and Path(job.input).is_dir():
        out, source = Path(address.path).resolve(), Path(job.input).resolve()
        if out.is_relative_to(source):
            raise UsageError(
                f"{out} lies inside of {source}", "the next run would read it", "choose another --out"
            )


def _root(job: BatchJob, address: Address) -> Path:
    if address.scheme == FOLDER:
        return Path(address.path)
    # Pipes may run side by side, and each of stdin's has rows of its own.
    pipe = (job.bundle, job.input, job.sql, job.where, job.keep, os.getpid() if job.input == STDIN else 0)
    identity = repr(pipe) if address.scheme == STDOUT else str(address)
    name = address.table or "stdout"
    return job.work / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def _is_hopeless(records: Mapping[str, UnitRecord], planned: int, most_bad: float) -> bool:
    """Whether there are too many bad rows by far, also of those read: what was planned may be an estimate."""
    bad, read = sum(record.bad for record in records.values()), sum(record.records for record in records.values())
    return bad > HOPELESS * most_bad * planned and bad > most_bad * read


@dataclass(frozen=True, slots=True)
class _Batch:
    """One run, with what it works on."""

    job: BatchJob
    address: Address
    predictor: Predictor
    workspace: Workspace
    table: Table
    watcher: Watcher

    def carry_out(self) -> BatchReport:
        """Score and publish, or find that there is nothing to do."""
        try:
            return self._carry_out()
        except (InputError, UsageError, TooManyBadRowsError):
            # Whoever mends the rows or the query wants them to be read again.
            ExtractFolder(self.workspace.extract).discard()
            raise

    def _carry_out(self) -> BatchReport:
        current = self.table.current()
        unfinished = self._unfinished(current.name if current else None)
        source = self._open_source(may_reuse=unfinished is not None)
        scorer, plan = self._plan(source)
        before = self.workspace.run(current.name) if current and not self.job.fresh else None
        if before and plan.is_done_by(before) and before.header.key == self.job.key:
            ExtractFolder(self.workspace.extract).discard()
            return self._report(plan, before.journal.units, before, skipped=set(plan.identities), is_new=False)
        run = unfinished or self.workspace.start(self._header())
        self.workspace.discard_all_but({run.header.name} | ({before.header.name} if before else set()))
        records = self._finished(plan, run, before)
        skipped = set(records)
        with open_journal(run.journal_path, JournalContent(run.header, records, None)) as journal:
            self._score(source, scorer, plan, run, records, journal)
            self._join_bad_rows(plan, run, records)
            self._publish(plan, run, records, scorer, journal)
        self.workspace.discard_all_but({run.header.name})
        ExtractFolder(self.workspace.extract).discard()
        if self.address.scheme == STDOUT:
            self.workspace.discard(run)
        return self._report(plan, records, run, skipped=skipped, is_new=True)

    def _open_source(self, *, may_reuse: bool) -> Source:
        job, signature = self.job, self.predictor.signature
        query = find_query(job.input, job.sql, job.password, job.memory_bytes)
        if query is None:
            return open_files(job.input, signature, job.keep)
        self.watcher.stage("reading", None)
        folder = ExtractFolder(self.workspace.extract)
        return folder.open(query, signature, job.keep, may_reuse=may_reuse, on_rows=self._advancing(0, 0))

    def _unfinished(self, current: str | None) -> Run | None:
        """A run that can be gone on with: it is for this bundle, and readers do not see it yet."""
        run = self.workspace.unfinished()
        if run is None:
            return None
        if run.header.name == current:
            # It was stopped after the switch: what readers see must not be touched any more.
            units = run.journal.units
            completion = Completion(sum(r.rows for r in units.values()), sum(r.bad for r in units.values()))
            with open_journal(run.journal_path, JournalContent(run.header, units, completion)):
                return None
        is_for_this = run.header.digest == self._digest and run.header.key == self.job.key
        return run if is_for_this and not self.job.fresh else None

    @property
    def _digest(self) -> str:
        return self.predictor.bundle.digest if self.predictor.bundle else ""

    def _header(self) -> RunHeader:
        now = datetime.now(UTC)
        return RunHeader(name_generation(now), self._digest, now.isoformat(timespec="seconds"), self.job.key)

    def _plan(self, source: Source) -> tuple[Scorer, Plan]:
        in_folders = set(source.folder_columns) if self.address.scheme == FOLDER else set()
        keep = [name for name in self.job.keep if name not in in_folders]
        where = RowFilter(self.job.where, source.schema) if self.job.where else None
        scorer = Scorer(self.predictor, keep, where, source.schema)
        check_key_columns(self.job.key, scorer.schema)
        return scorer, plan_units(source.units, self._digest, scorer.schema, keep, self.job.where)

    def _finished(self, plan: Plan, run: Run, before: Run | None) -> dict[str, UnitRecord]:
        records = {record.part: record for record in plan.finished(run)}
        tidy(run, records)
        if before:
            for record in plan.finished(before):
                if record.part not in records:
                    take_over(record, before, run)
                    records[record.part] = record
        return records

    def _score(
        self,
        source: Source,
        scorer: Scorer,
        plan: Plan,
        run: Run,
        records: dict[str, UnitRecord],
        journal: Journal,
    ) -> None:
        job, watcher = self.job, self.watcher
        todo = [unit for unit in plan.units if unit.part not in records]
        planned = sum(unit.rows for unit in plan.units)
        watcher.stage("predicting", sum(unit.rows for unit in todo))
        work = Work(job, self.predictor, source, scorer, plan, run, todo)
        is_hopeless = False
        with closing(find_engine(job.engine)(work, watcher)) as finished:
            for unit, record in finished:
                journal.append(record)
                records[unit.part] = record
                is_hopeless = _is_hopeless(records, planned, job.most_bad)
                if is_hopeless:
                    break
        if len(records) < len(plan.units) and not is_hopeless:
            raise StoppedError(len(records), len(plan.units))

    def _join_bad_rows(self, plan: Plan, run: Run, records: Mapping[str, UnitRecord]) -> None:
        bad, read = (sum(getattr(record, name) for record in records.values()) for name in ("bad", "records"))
        if not bad:
            return
        target = self._errors_path(run)
        in_order = [records[unit.part] for unit in plan.units if unit.part in records]
        join_bad_rows(((record, run.bad_rows(record.part)) for record in in_order), target)
        if bad > self.job.most_bad * read:
            raise TooManyBadRowsError(bad, read, self.job.most_bad, target)

    def _publish(
        self, plan: Plan, run: Run, records: Mapping[str, UnitRecord], scorer: Scorer, journal: Journal
    ) -> None:
        if len(records) < len(plan.units):
            raise RuntimeError("not every unit is finished")
        parts = tuple(run.parts / unit.part for unit in plan.units)
        rows = sum(record.rows for record in records.values())
        check_keys(parts, self.job.key, run.directory / "spill")
        header = run.header
        generation = Generation(
            header.name, header.digest, header.predicted_at, header.key, rows, scorer.schema, parts
        )
        self.watcher.stage("publishing", rows)
        self.table.publish(
            generation, self.job.keep_generations, self._advancing(len(plan.units), len(plan.units))
        )
        journal.append(Completion(rows, sum(record.bad for record in records.values())))

    def _advancing(self, finished: int, units: int) -> Callable[[int], None]:
        def on_rows(rows: int) -> None:
            if rows:
                self.watcher.advance(rows)
            if self.watcher.should_stop():
                raise StoppedError(finished, units)

        return on_rows

    def _errors_path(self, run: Run) -> Path:
        return self.job.errors or self.workspace.errors(run.header.name)

    def _report(
        self, plan: Plan, records: Mapping[str, UnitRecord], run: Run, *, skipped: set[str], is_new: bool
    ) -> BatchReport:
        bad = sum(record.bad for record in records.values())
        rows = sum(record.rows for record in records.values())
        return BatchReport(
            out=str(self.address),
            generation=run.header.name,
            digest=run.header.digest,
            rows=rows,
            bad_rows=bad,
            errors=self._errors_path(run) if bad else None,
            units=len(plan.units),
            units_skipped=len(skipped),
            scored_rows=sum(record.rows for part, record in records.items() if part not in skipped),
            is_new=is_new,
        )
