"""From the files of a history to the events that somebody asks about, admitted and divided by key."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import polars as pl

from mlops_kit.features.admission import Refusals, judge_sequence, judge_times, judge_values, value_columns
from mlops_kit.features.definition.feature_set import EventSource
from mlops_kit.features.history import Span, open_history, read_span
from mlops_kit.features.kernel.portions import WORDS, divide_events
from mlops_kit.features.layout import Layout
from mlops_kit.features.offline.entities import Entities
from mlops_kit.features.offline.partitions import MOST_KEPT_BYTES, Partitions, count_partitions
from mlops_kit.features.offline.threads import run_in_order
from mlops_kit.features.offline.work import JoinReport, Resources
from mlops_kit.schema import Array

MOST_ROWS = 2**17
"""Rows that are read at a time, if there is memory for them: more would not stay in the processor's cache."""

MOST_GROUP_ROWS = 2**20
"""Of a row group that is read as a whole nevertheless, because that is faster."""

LEAST_ROWS = 2**12
"""With less memory than for these, it is too little."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What is left of some rows: events by portion."""

    read: int
    portions: list[Array]
    texts: dict[int, str]
    refused: tuple[Refusals, Refusals]


@dataclass(frozen=True, slots=True)
class Scan:
    """The events of the keys of `entities` with least_us <= time < end_us."""

    source: EventSource
    layout: Layout
    entities: Entities
    least_us: int
    end_us: int
    resources: Resources

    def run(self, report: JoinReport) -> tuple[Partitions, dict[int, str]]:
        """The events, and the texts that their words stand for. Raises UsageError and InputError."""
        history = open_history(self.source.name, self.source.history)
        history.check(self._columns, self._judge_empty)
        spans = history.spans(self._most_rows(self._rows_at_once), self.source.time, self.least_us, self.end_us)
        partitions = self._partitions(sum(span.rows for span in spans))
        texts: dict[int, str] = {}
        self.resources.progress.stage(f"reading {self.source.name}", sum(span.rows for span in spans))
        jobs = self._jobs(spans, len(partitions))
        for found in chain.from_iterable(run_in_order(jobs, self.resources.threads)):
            partitions.add(found.portions)
            texts.update(found.texts)
            report.events_read += found.read
            for refusals in found.refused:
                report.refuse(self.source.name, refusals.by_reason)
            self.resources.progress.advance(found.read)
        report.spilled_bytes += partitions.spilled_bytes
        return partitions, texts

    @property
    def _columns(self) -> list[str]:
        source = self.source
        names = [source.time, *(part.column for part in source.key), *sorted(value_columns(source, self.layout))]
        return list(dict.fromkeys([*names, source.sequence] if source.sequence else names))

    @property
    def _width(self) -> int:
        return WORDS + self.layout.words

    @property
    def _rows_at_once(self) -> int:
        """Where there are many keys, finding them among fewer rows would take longer than all the rest."""
        return min(max(MOST_ROWS, self.entities.count), MOST_GROUP_ROWS)

    def _most_rows(self, wanted: int) -> int:
        """What is decoded and judged takes several times what is left of it in the end."""
        share = self.resources.memory_bytes // (8 * self.resources.threads)
        return max(min(wanted, share // (32 * self._width)), LEAST_ROWS)

    def _partitions(self, rows: int) -> Partitions:
        resources = self.resources
        count = count_partitions(rows, 8 * self._width, resources.memory_bytes, resources.threads)
        return Partitions(count, self._width, min(resources.memory_bytes // 4, MOST_KEPT_BYTES), resources.folder)

    def _judge_empty(self, frame: pl.DataFrame) -> None:
        self._find(1, 0, frame)

    def _jobs(self, spans: list[Span], portions: int) -> Iterator[Callable[[], list[_Found]]]:
        most_rows = self._most_rows(MOST_GROUP_ROWS)
        for span in spans:
            if span.rows <= most_rows:
                yield partial(self._read, portions, span)
            else:
                for first_row, frame in read_span(span, self._columns, self._most_rows(self._rows_at_once)):
                    yield partial(self._find_in, portions, first_row, frame)

    def _read(self, portions: int, span: Span) -> list[_Found]:
        ((first_row, frame),) = read_span(span, self._columns, span.rows)
        return self._find_in(portions, first_row, frame)

    def _find_in(self, portions: int, first_row: int, frame: pl.DataFrame) -> list[_Found]:
        rows = self._rows_at_once
        starts = range(0, frame.height, rows)
        return [self._find(portions, first_row + start, frame[start : start + rows]) for start in starts]

    def _find(self, portions: int, first_row: int, frame: pl.DataFrame) -> _Found:
        refused = Refusals(frame.height)
        ts = judge_times(frame, self.source, refused)
        seq = judge_sequence(frame, self.source, first_row, refused)
        codes = self.entities.find(frame)
        wanted = ~refused.is_refused & (codes >= 0) & (ts >= self.least_us) & (ts < self.end_us)
        read = frame.height
        if not wanted.all():
            rows = np.flatnonzero(wanted)
            frame, codes, ts, seq = frame[rows], codes[rows], ts[rows], seq[rows]
        unfit = Refusals(frame.height)
        words, texts = judge_values(frame, self.source, self.layout, unfit)
        codes = np.where(unfit.is_refused, -1, codes)
        return _Found(read, _divided(codes, ts, seq, words, portions), texts, (refused, unfit))


def _divided(codes: Array, ts: Array, seq: Array, words: Array, portions: int) -> list[Array]:
    """The events of each portion, in their order."""
    counts = np.bincount(codes[codes >= 0] % portions, minlength=portions)
    edges = counts.cumsum()
    events = np.empty((edges[-1], WORDS + words.shape[1]), np.int64)
    divide_events(codes, ts, seq, words, edges - counts, events)
    return np.split(events, edges[:-1])
