"""Windows over sorted history: every event enters a window once and leaves it once.

The windows of one slot are answered together, from sums of all events before each: a window's sum is a difference.
What has no such sums is answered window by window, and events are added and taken away.

Where a question must not see events that arrived after it, and there are such events before it in time, its
windows are gathered event by event instead.
"""

import numpy as np

from mlops_kit.features.kernel.answering import (
    HIGHEST,
    LEASTS,
    MOSTS,
    ROWS,
    SEQ,
    SUM_HIGH,
    SUM_LOW,
    TS,
    VALUE,
    answer,
    describe,
    gather,
)
from mlops_kit.features.kernel.cells import DISTINCT_VALUES, add_sums, empty
from mlops_kit.features.kernel.compiling import kernel, part
from mlops_kit.features.kernel.extremes import add_candidate
from mlops_kit.features.kernel.running_sums import sum_up, unit_of
from mlops_kit.features.kernel.value_table import empty_table, enter, leave
from mlops_kit.features.kernel.values import is_seen, lower_bound
from mlops_kit.features.layout import DISTINCT, MAX, MIN, SQUARES, SUM


@kernel
def slide(history, questions, plan, cell, buffers, keys, answers):
    """Answer the questions of keys[0] <= key < keys[1].

    history: starts, ts, seq, words. questions: starts, ts, limits, current (both may have no rows). plan: slots,
    windows, outputs. buffers: see `new_buffers`. answers: words, is_valid.
    """
    starts = history[0]
    slots, windows, _ = plan
    for key in range(keys[0], keys[1]):
        if questions[0][key] == questions[0][key + 1]:
            continue
        first = 0
        for slot in range(slots.shape[0]):
            events = _seen_events(history, starts[key], starts[key + 1], slots[slot], buffers[0])
            end, needs = first, 0
            while end < windows.shape[0] and windows[end, 0] == slot:
                needs |= windows[end, 5]
                end += 1
            unit = _prepare(events, needs, buffers[0])
            for window in range(first - 1, end):
                is_alone = window >= first
                if is_alone and not _is_alone(windows[window, 5], unit):
                    continue
                group = window if is_alone else first, window + 1 if is_alone else end, unit, is_alone
                _slide_windows(events, questions, key, plan, group, cell, buffers, answers)
            first = end


def new_buffers(most_events, windows):
    """Room for the events of one key, a hash table of their values, the numbers of candidates, and for each window
    its first event and its first candidates.
    """
    table = 8
    while table < 2 * most_events:
        table *= 2
    rows, marks = np.zeros((ROWS, most_events + 1), np.int64), np.zeros((windows, 3), np.int64)
    return rows, np.zeros((2, table), np.int64), np.zeros((2, 2), np.int64), marks


@part
def _seen_events(history, first, end, slot, rows):
    _, ts, seq, words = history
    column, condition = slot[0], slot[1]
    kept, highest = 0, np.int64(-1)
    for row in range(first, end):
        if is_seen(words[row, 0], column, condition):
            highest = max(highest, seq[row])
            rows[TS, kept], rows[SEQ, kept], rows[HIGHEST, kept] = ts[row], seq[row], highest
            rows[VALUE, kept] = words[row, 1 + column] if column >= 0 else 0
            kept += 1
    return kept, slot[2]


@part
def _prepare(events, needs, rows):
    """Sum up, if some window needs sums; the sums' unit."""
    count, is_float = events
    if not needs & SUM:
        return np.int64(0)
    unit = unit_of(rows[VALUE], count, is_float)
    if unit >= 0:
        sum_up(rows[VALUE], count, is_float, unit, rows[SUM_LOW], rows[SUM_HIGH])
    return unit


@part
def _is_alone(needs, unit):
    """Whether events must enter and leave the window one by one."""
    return (needs & (SQUARES | DISTINCT)) != 0 or (needs & SUM != 0 and unit < 0)


@part
def _slide_windows(events, questions, key, plan, group, cell, buffers, answers):
    """Answer the windows of a group: one that is alone, or all from the first to the end that are not."""
    first, end, unit, is_alone = group
    starts, asked, limits, _ = questions
    rows, _, ends, marks = buffers
    needs = _begin(plan[1], group, cell, buffers)
    mask = empty_table(buffers[1], events[0]) if needs & DISTINCT else 0
    high = 0
    for question in range(starts[key], starts[key + 1]):
        ends[0, 1], ends[1, 1] = ends[0, 0], ends[1, 0]
        while high < events[0] and rows[TS, high] < asked[question]:
            _take_in(events, high, needs, is_alone, mask, cell, buffers)
            high += 1
        for window in range(first, end):
            if not is_alone and _is_alone(plan[1][window, 5], unit):
                continue
            bound = lower_bound(asked[question], plan[1][window, 1], plan[1][window, 2])
            low = marks[window, 0]
            while low < high and rows[TS, low] < bound:
                if is_alone:
                    _let_go(events, low, needs, mask, cell, buffers)
                low += 1
            marks[window, 0] = low
            for which in range(2):
                marks[window, 1 + which] = min(marks[window, 1 + which], ends[which, 1])
            if limits.size and high > low and rows[HIGHEST, high - 1] > limits[question]:
                distinct = cell[0][DISTINCT_VALUES]
                gather(low, high, events, question, questions, plan, window, cell, rows, answers)
                if is_alone:
                    _restore(low, high, events, needs, distinct, cell, rows)
            else:
                describe(low, high, unit, is_alone, window, plan[1], cell, buffers)
                answer(question, events, questions, plan, window, mask, cell, buffers, answers)


@part
def _begin(windows, group, cell, buffers):
    """Start over; what is needed for the group."""
    first, end, unit, is_alone = group
    empty(cell)
    needs = 0
    for window in range(first, end):
        for mark in range(3):
            buffers[3][window, mark] = 0
        if is_alone or not _is_alone(windows[window, 5], unit):
            needs |= windows[window, 5]
    for which in range(2):
        buffers[2][which, 0] = 0
    return needs


@part
def _take_in(events, event, needs, is_alone, mask, cell, buffers):
    rows, table, ends, _ = buffers
    is_float = events[1]
    if needs & MIN:
        add_candidate(rows[LEASTS], ends[0], rows[VALUE], event, is_float, False)
    if needs & MAX:
        add_candidate(rows[MOSTS], ends[1], rows[VALUE], event, is_float, True)
    if is_alone:
        if needs & (SUM | SQUARES):
            add_sums(cell, rows[VALUE, event], is_float, needs, False)
        if needs & DISTINCT:
            cell[0][DISTINCT_VALUES] += enter(table, mask, rows[VALUE, event])


@part
def _let_go(events, event, needs, mask, cell, buffers):
    rows, table, _, _ = buffers
    if needs & (SUM | SQUARES):
        add_sums(cell, rows[VALUE, event], events[1], needs, True)
    if needs & DISTINCT:
        cell[0][DISTINCT_VALUES] -= leave(table, mask, rows[VALUE, event])


@part
def _restore(low, high, events, needs, distinct, cell, rows):
    """Back to all events from low to high."""
    empty(cell)
    cell[0][DISTINCT_VALUES] = distinct
    if needs & (SUM | SQUARES):
        for row in range(low, high):
            add_sums(cell, rows[VALUE, row], events[1], needs, False)
