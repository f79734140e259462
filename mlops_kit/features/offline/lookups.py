"""Table features of a spine: the newest row of its key that holds at its time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from mlops_kit.errors import InputError
from mlops_kit.features.admission import Refusals
from mlops_kit.features.definition.expressions.columns import DTYPES
from mlops_kit.features.definition.feature_set import Kind, TableFeature, TableSource
from mlops_kit.features.finishing import finish_lookup
from mlops_kit.features.history import Span, open_history, read_span
from mlops_kit.features.offline.entities import Entities
from mlops_kit.features.offline.partitions import sort_rows
from mlops_kit.features.offline.scan import MOST_ROWS
from mlops_kit.features.offline.spine import Spine
from mlops_kit.features.offline.threads import run_in_order
from mlops_kit.features.offline.work import JoinReport, Resources
from mlops_kit.features.values import normal_values, times_us
from mlops_kit.schema import Array


def join_table(
    table: TableSource, features: Sequence[TableFeature], spine: Spine, resources: Resources, report: JoinReport
) -> list[pl.Series]:
    """The features of one table, as columns beside the spine's.

    Of several rows with one key and `valid_from`, the last one counts; in a table without time that would be a
    mistake: raises InputError. Those rows of the table whose keys the spine has must fit into memory.
    """
    mine = [feature for feature in features if feature.source == table.name]
    entities = Entities(spine.frame, table.key)
    kinds = {field.name: field.kind for field in table.fields}
    reading = _Reading(table, {feature.column: kinds[feature.column] for feature in mine}, entities)
    rows = reading.run(resources, report)
    if not table.valid_from:
        _refuse_doubles(table, rows, entities)
    newest = _newest(rows, entities, spine.times if table.valid_from else np.zeros_like(spine.times))
    return [finish_lookup(feature, rows.values[feature.column].gather(newest)) for feature in mine]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of a table in the order of its files: the numbers of their keys, since when they hold, the values."""

    codes: Array
    since: Array
    values: pl.DataFrame


def _newest(rows: _Rows, entities: Entities, times: Array) -> pl.Series:
    """The place of the row that holds for each that asks, null where none does."""
    asking = np.flatnonzero(entities.codes >= 0)
    codes = np.concatenate([rows.codes, entities.codes[asking]])
    # A row holds from its own time on, so it has to come before those that ask at the same time, as it does here.
    order, starts = sort_rows(codes, np.concatenate([rows.since, times[asking]]), entities.count)
    is_asking = order >= len(rows.codes)
    latest = np.maximum.accumulate(np.where(is_asking, -1, np.arange(len(order))))
    latest = latest[is_asking]
    askers = order[is_asking]
    is_found = latest >= starts[codes[askers]]
    found = np.full(len(times), -1, np.int64)
    found[asking[askers[is_found] - len(rows.codes)]] = order[latest[is_found]]
    return pl.Series(found).replace({-1: None})


def _refuse_doubles(table: TableSource, rows: _Rows, entities: Entities) -> None:
    counts = np.bincount(rows.codes, minlength=1)
    if counts.max() > 1:
        key = ", ".join(f"{name} = {value!r}" for name, value in entities.key_of(int(counts.argmax())).items())
        raise InputError(
            f"the table {table.name!r} has {counts.max():,} rows with {key}",
            "without a column of time, each key has one row",
            "leave one of them, or define the table with valid_from",
        )


@dataclass(frozen=True, slots=True)
class _Reading:
    """The rows of a table that have a key of the spine. `kinds` are those of the columns that features take."""

    table: TableSource
    kinds: Mapping[str, Kind]
    entities: Entities

    def run(self, resources: Resources, report: JoinReport) -> _Rows:
        """Read them. Raises UsageError and InputError."""
        history = open_history(self.table.name, self.table.path)
        history.check(self._columns, self._find)
        resources.progress.stage(f"reading {self.table.name}", history.rows)
        found = [self._find(pl.DataFrame(schema=self._schema))[0]]
        jobs = (partial(self._read, span) for span in history.spans(MOST_ROWS))
        for read, rows, refusals in run_in_order(jobs, resources.threads):
            found.append(rows)
            report.events_read += read
            report.refuse(self.table.name, refusals.by_reason)
            resources.progress.advance(read)
        return _Rows(
            np.concatenate([rows.codes for rows in found]),
            np.concatenate([rows.since for rows in found]),
            pl.concat([rows.values for rows in found]),
        )

    @property
    def _schema(self) -> dict[str, pl.DataType]:
        keys = {part.column: DTYPES[part.kind] for part in self.table.key}
        since = {self.table.valid_from: pl.Int64()} if self.table.valid_from else {}
        return {**{name: DTYPES[kind] for name, kind in self.kinds.items()}, **since, **keys}

    @property
    def _columns(self) -> list[str]:
        return list(self._schema)

    def _read(self, span: Span) -> tuple[int, _Rows, Refusals]:
        ((_, frame),) = read_span(span, self._columns, span.rows)
        return frame.height, *self._find(frame)

    def _find(self, frame: pl.DataFrame) -> tuple[_Rows, Refusals]:
        refusals = Refusals(frame.height)
        since = pl.repeat(0, frame.height, dtype=pl.Int64, eager=True)
        if self.table.valid_from:
            since = times_us(frame[self.table.valid_from])
            refusals.add(f"{self.table.valid_from!r} is null, or no time", since.is_null())
        for part in self.table.key:
            refusals.add(f"the key {part.column!r} is null", frame[part.column].is_null())
        codes = self.entities.find(frame)
        rows = np.flatnonzero(~refusals.is_refused & (codes >= 0))
        values = [_normal(frame[name][rows], kind) for name, kind in self.kinds.items()]
        return _Rows(codes[rows], since.fill_null(0).to_numpy()[rows], pl.DataFrame(values)), refusals


def _normal(series: pl.Series, kind: Kind) -> pl.Series:
    values, unfit = normal_values(series, kind)
    if unfit.any():
        what = f"column {series.name!r} has numbers that are not whole, or beyond 64 bits"
        raise InputError(what, "the features' definition has whole numbers there", "mend the table")
    return values
