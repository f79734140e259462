"""Window features of a spine: the kernel over sorted history, one portion of the keys after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from mlops_kit.features.admission import Refusals, judge_values
from mlops_kit.features.definition.feature_set import EventSource, WindowFeature
from mlops_kit.features.finishing import Finished, Finisher, series_of
from mlops_kit.features.kernel.portions import CODE, SEQ, TS, WORDS, group_events
from mlops_kit.features.kernel.windows import Events, Questions, window_values
from mlops_kit.features.layout import Layout, compile_layout
from mlops_kit.features.offline.entities import Entities
from mlops_kit.features.offline.memory import give_back_memory
from mlops_kit.features.offline.partitions import Partitions, divide, sort_rows
from mlops_kit.features.offline.scan import Scan
from mlops_kit.features.offline.spine import Spine
from mlops_kit.features.offline.threads import run_in_order
from mlops_kit.features.offline.work import JoinReport, Resources
from mlops_kit.schema import Array


class Columns:
    """Features as they are filled in, some rows at a time: a row's words lie together, because that is faster."""

    def __init__(self, finisher: Finisher, rows: int, texts: Mapping[int, str]) -> None:
        """`texts` has all that words may stand for."""
        self._features = finisher.features
        self._words = np.empty((rows, len(finisher.features)), np.int64)
        self._is_valid = np.empty((rows, len(finisher.features)), np.bool_)
        self._texts = texts

    def fill(self, rows: Array, finished: Finished) -> None:
        """Put the features of these rows into their places."""
        self._words[rows] = finished.words
        self._is_valid[rows] = finished.is_valid

    def series(self, first: int, end: int) -> list[pl.Series]:
        """The features of the rows from `first` to `end`."""
        words, is_valid = self._words[first:end].T, self._is_valid[first:end].T
        columns = zip(self._features, words, is_valid, strict=True)
        return [series_of(feature, word.copy(), valid, self._texts) for feature, word, valid in columns]


def join_windows(
    source: EventSource, features: Sequence[WindowFeature], spine: Spine, resources: Resources, report: JoinReport
) -> Columns:
    """The features of one source, beside the spine's rows. Raises UsageError and InputError."""
    layout = compile_layout(source, features)
    finisher = Finisher(features, layout)
    entities = Entities(spine.frame, source.key)
    current, own_texts = _current(source, layout, spine)
    asked = _Asked(layout, finisher, entities, spine.times, spine.limits(source), current)
    first, last = spine.span_us
    scan = Scan(source, layout, entities, first - layout.retention_us, last, resources)
    partitions, texts = scan.run(report)
    give_back_memory()
    columns = Columns(finisher, len(spine.times), {**texts, **own_texts, **finisher.texts})
    without_key = np.flatnonzero(entities.codes < 0)
    columns.fill(without_key, finisher.empty(len(without_key)))
    resources.progress.stage(f"computing {source.name}", len(spine.times) - len(without_key))
    portions = enumerate(divide(entities.codes, len(partitions)))
    jobs = (partial(asked.answer, rows, partitions, portion) for portion, rows in portions)
    for rows, finished in run_in_order(jobs, resources.threads):
        columns.fill(rows, finished)
        resources.progress.advance(len(rows))
    return columns


def _current(source: EventSource, layout: Layout, spine: Spine) -> tuple[Array | None, dict[int, str]]:
    """The words of the rows as events, for features that include them."""
    if not layout.has_current:
        return None, {}
    refusals = Refusals(spine.frame.height)
    words, texts = judge_values(spine.frame, source, layout, refusals)
    for reason, rows in refusals.by_reason.items():
        spine.refuse(reason, rows)
    return words, texts


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the rows ask of one source."""

    layout: Layout
    finisher: Finisher
    entities: Entities
    times: Array
    limits: Array | None
    current: Array | None

    def answer(self, rows: Array, partitions: Partitions, portion: int) -> tuple[Array, Finished]:
        """The rows of one portion, in another order, and their features."""
        keys = len(range(portion, self.entities.count, len(partitions)))
        codes = self.entities.codes[rows] // len(partitions)
        order, starts = sort_rows(codes, self.times[rows], keys)
        rows = rows[order]
        limits = None if self.limits is None else self.limits[rows]
        current = None if self.current is None else self.current[rows]
        questions = Questions(starts, self.times[rows], limits, current)
        history = _sorted(partitions.take(portion), len(partitions), keys)
        return rows, self.finisher.finish(window_values(self.layout, history, questions, {}))


def _sorted(events: Array, partitions: int, keys: int) -> Events:
    """By key, time and sequence; of several with one key and sequence number, the first."""
    grouped, is_sorted = _grouped(events, partitions, keys)
    if is_sorted:
        return grouped
    order, _ = sort_rows(events[:, CODE] // partitions, events[:, SEQ], keys)
    events = events[order]
    is_repeated = (events[1:, [CODE, SEQ]] == events[:-1, [CODE, SEQ]]).all(axis=1)
    events = events[np.append(True, ~is_repeated)]
    return _grouped(events[np.argsort(events[:, TS], kind="stable")], partitions, keys)[0]


def _grouped(events: Array, partitions: int, keys: int) -> tuple[Events, bool]:
    counts = np.bincount(events[:, CODE] // partitions, minlength=keys)
    starts = np.append(0, counts.cumsum())
    ts, seq = np.empty(len(events), np.int64), np.empty(len(events), np.int64)
    words = np.empty((len(events), events.shape[1] - WORDS), np.int64)
    is_sorted = group_events(events, partitions, starts[:-1].copy(), ts, seq, words)
    return Events(starts, ts, seq, words), is_sorted
