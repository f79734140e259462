"""A batch run from beginning to end: plan, score what is not finished, check, publish."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mlops_kit.errors import InputError, MissingExtraError, StoppedError, UnfitRowsError, UsageError
from mlops_kit.features.offline.work import JoinReport
from mlops_kit.loading import load
from mlops_kit.modes.batch.admission import check_features, check_job
from mlops_kit.modes.batch.engines import SPARK, check_engine, find_engine
from mlops_kit.modes.batch.job import BatchJob, BatchReport, Watcher
from mlops_kit.modes.batch.journal import Completion, Journal, JournalContent, RunHeader, UnitRecord, open_journal
from mlops_kit.modes.batch.keys import check_key_columns
from mlops_kit.modes.batch.outcome import (
    Records,
    check_generation,
    generation_of,
    is_hopeless,
    settle_bad_rows,
    total_of,
)
from mlops_kit.modes.batch.scoring import Scorer, check_kept
from mlops_kit.modes.batch.sources.extract.folder import ExtractFolder
from mlops_kit.modes.batch.sources.extract.resolve import STDIN, find_query
from mlops_kit.modes.batch.sources.interface import Source
from mlops_kit.modes.batch.sources.resolve import open_files
from mlops_kit.modes.batch.sources.where import RowFilter
from mlops_kit.modes.batch.units import Plan, finished_units, plan_units
from mlops_kit.modes.batch.work import Work
from mlops_kit.modes.batch.workspace import Run, Workspace, open_workspace, workspace_root
from mlops_kit.modes.memory import peak_memory
from mlops_kit.predictor import Predictor
from mlops_kit.schema import Signature
from mlops_kit.tables.address import FOLDER, STDOUT, Address
from mlops_kit.tables.generation import Generation, name_generation
from mlops_kit.tables.interface import Table
from mlops_kit.tables.resolve import open_table, resolve_address


def run_batch(job: BatchJob, watcher: Watcher) -> BatchReport:
    """Carry out the job. Running it again, after whatever ended it, goes on where it was.

    Raises UsageError, InputError, BundleError and StoreError; UnfitRowsError for rows that may not be published;
    StoppedError if the watcher stopped it. Then readers keep what they had.
    """
    started = time.perf_counter()
    address = resolve_address(job.out)
    check_job(job, address)
    check_engine(job)
    job = replace(job, keep=tuple(dict.fromkeys((*job.key, *job.keep))))
    predictor = load(job.bundle)
    check_kept(predictor, job.keep)
    check_features(job, predictor)
    root, option = workspace_root(job, address), "--out" if address.scheme == FOLDER else "--work"
    with open_workspace(root, option) as workspace, closing(open_table(address, job.password)) as table:
        report = _Batch(job, address, predictor, workspace, table, watcher, JoinReport()).carry_out()
    return replace(report, seconds=time.perf_counter() - started, peak_memory=peak_memory())


@dataclass(frozen=True, slots=True)
class _Batch:
    """One run, with what it works on."""

    job: BatchJob
    address: Address
    predictor: Predictor
    workspace: Workspace
    table: Table
    watcher: Watcher
    joined: JoinReport

    def carry_out(self) -> BatchReport:
        """Score and publish, or find that there is nothing to do."""
        try:
            return self._carry_out()
        except (InputError, UsageError, UnfitRowsError):
            # Whoever mends the rows or the query wants them to be read again.
            self._extract.discard()
            raise
        finally:
            if self.address.scheme == STDOUT and self.job.input == STDIN:
                self.workspace.discard_everything()  # nobody can give these rows again

    def _carry_out(self) -> BatchReport:
        current, key = self.table.current(), self.job.key
        unfinished = self.workspace.unfinished(self._digest, key, current.name if current else None)
        run = None if self.job.fresh else unfinished
        source = self._open_source(may_reuse=run is not None)
        scorer, plan = self._plan(source)
        before = self.workspace.run(current.name) if current and not self.job.fresh else None
        if before and before.header.key == key and plan.is_done_by(before):
            return self._publish_again(plan, before, scorer)
        run = run or self.workspace.start(self._header())
        self.workspace.discard_all_but({run.header.name} | ({before.header.name} if before else set()))
        records = finished_units(plan, run, before)
        skipped = frozenset(records)
        with open_journal(run.journal_path, JournalContent(run.header, records, None)) as journal:
            self._score(Work(self.job, self.predictor, source, scorer, plan, run, records), journal, records)
            settle_bad_rows(plan, run, records, self.job.most_bad, self._errors_path(run))
            generation = generation_of(plan, run, records, scorer.schema)
            check_generation(generation, run.directory / "spill", may_be_empty=self.job.allow_empty)
            self._publish(generation, len(plan.units))
            journal.append(Completion(generation.rows, total_of(records, "bad")))
        self._tidy(run)
        return self._report(plan, records, run, skipped)

    def _publish_again(self, plan: Plan, run: Run, scorer: Scorer) -> BatchReport:
        """What is published is as it should be; but its readers' way to it, and how many are kept, may not be."""
        records = run.journal.units
        self._publish(generation_of(plan, run, records, scorer.schema), len(plan.units))
        self._tidy(run)
        return self._report(plan, records, run, frozenset(records), is_new=False)

    def _tidy(self, run: Run) -> None:
        self.workspace.discard_all_but({run.header.name})
        self._extract.discard()
        if self.address.scheme == STDOUT:
            self.workspace.discard(run)

    @property
    def _extract(self) -> ExtractFolder:
        return ExtractFolder(self.workspace.extract)

    def _open_source(self, *, may_reuse: bool) -> Source:
        job, signature = self.job, self.predictor.signature
        query = find_query(job.input, job.sql, job.password, job.memory_bytes)

        def open_rows(signature: Signature, keep: Sequence[str]) -> Source:
            if query is None:
                return open_files(job.input, signature, keep)
            self.watcher.stage("reading", None)
            on_rows = self._advancing(0, 0)
            return self._extract.open(query, signature, keep, may_reuse=may_reuse, on_rows=on_rows)

        features = self.predictor.bundle.features if self.predictor.bundle else None
        if features is None:
            return open_rows(signature, job.keep)
        try:
            from mlops_kit.modes.batch.sources.features import FeatureJob, open_with_features
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "numba", "features", "computing features") from error

        asked = FeatureJob(
            features, signature, job.keep, job.time, job.memory_bytes,
            opens_once=query is not None, may_compute=job.engine != SPARK,
        )  # fmt: skip
        return open_with_features(asked, open_rows, self.joined)

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

    def _score(self, work: Work, journal: Journal, records: dict[str, UnitRecord]) -> None:
        """Raises StoppedError if somebody stopped it. A hopeless run ends early, with fewer records than units."""
        planned = sum(unit.rows for unit in work.plan.units)
        self.watcher.stage("predicting", sum(unit.rows for unit in work.units))
        with closing(find_engine(self.job.engine)(work, self.watcher)) as finished:
            for unit, record in finished:
                journal.append(record)
                records[unit.part] = record
                if is_hopeless(records, planned, self.job.most_bad):
                    return
        if len(records) < len(work.plan.units):
            raise StoppedError(len(records), len(work.plan.units))

    def _publish(self, generation: Generation, units: int) -> None:
        self.watcher.stage("publishing", generation.rows)
        self.table.publish(generation, self.job.keep_generations, self._advancing(units, units))

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
        self, plan: Plan, records: Records, run: Run, skipped: frozenset[str], *, is_new: bool = True
    ) -> BatchReport:
        bad = total_of(records, "bad")
        return BatchReport(
            out=str(self.address),
            generation=run.header.name,
            digest=run.header.digest,
            rows=total_of(records, "rows"),
            bad_rows=bad,
            errors=self._errors_path(run) if bad else None,
            units=len(plan.units),
            units_skipped=len(skipped),
            scored_rows=sum(record.rows for part, record in records.items() if part not in skipped),
            is_new=is_new,
            notes=tuple(self.joined.warnings),
        )
