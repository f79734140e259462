"""Questions about windows of sorted history: from the events of a window to its aggregates."""

import numpy as np

from mlops_kit.features.kernel.cells import (
    DISTINCT_VALUES,
    EVENTS,
    FIRST_VALUE,
    KEPT,
    LEAST,
    MOST,
    WITH_CURRENT,
    add_event,
    count_distinct,
    empty,
    finish,
)
from mlops_kit.features.kernel.compiling import part
from mlops_kit.features.kernel.extremes import first_candidate
from mlops_kit.features.kernel.running_sums import take_difference
from mlops_kit.features.kernel.value_table import is_absent
from mlops_kit.features.kernel.values import is_seen
from mlops_kit.features.layout import DISTINCT, MAX, MIN, NEWEST, SUM

ROWS = 8
TS, SEQ, VALUE, HIGHEST, LEASTS, MOSTS, SUM_LOW, SUM_HIGH = range(ROWS)
"""Rows of the buffer of events: time, sequence and value of those that a slot sees, the highest sequence so far,
the candidates for min and max, the sum of all values before.
"""


@part
def describe(low, high, unit, is_alone, window, windows, cell, buffers):
    """The facts of the events from low to high."""
    facts, newest, total, _, _, _ = cell
    rows, _, _, marks = buffers
    needs = windows[window, 5]
    facts[EVENTS], facts[KEPT] = high - low, 0
    if needs & SUM and not is_alone:
        take_difference(total, rows[SUM_LOW], rows[SUM_HIGH], low, high, unit)
    if high == low:
        return
    if needs & MIN:
        marks[window, 1] = first_candidate(rows[LEASTS], marks[window, 1], low)
        facts[LEAST] = rows[VALUE, rows[LEASTS, marks[window, 1]]]
    if needs & MAX:
        marks[window, 2] = first_candidate(rows[MOSTS], marks[window, 2], low)
        facts[MOST] = rows[VALUE, rows[MOSTS, marks[window, 2]]]
    facts[FIRST_VALUE] = rows[VALUE, low]
    if needs & NEWEST:
        facts[KEPT] = min(high - low, newest.shape[0])
        for place in range(facts[KEPT]):
            newest[place, 0], newest[place, 2] = rows[TS, high - 1 - place], rows[VALUE, high - 1 - place]


@part
def _current(question, questions, slot):
    """Whether the event that asks counts for a slot, and its value."""
    current = questions[3]
    if current.shape[0] == 0 or not is_seen(current[question, 0], slot[0], slot[1]):
        return False, np.int64(0)
    return True, current[question, 1 + slot[0]] if slot[0] >= 0 else np.int64(0)


@part
def answer(question, events, questions, plan, window, mask, cell, buffers, answers):
    """Answer from the facts."""
    is_there, value = _current(question, questions, plan[0][plan[1][window, 0]])
    if plan[1][window, 5] & DISTINCT and is_there:
        cell[0][WITH_CURRENT] = cell[0][DISTINCT_VALUES] + is_absent(buffers[1], mask, value)
    _finish(cell, question, events[1], questions, plan, window, is_there, value, answers)


@part
def gather(low, high, events, question, questions, plan, window, cell, rows, answers):
    """Answer a question that may not see all events from low to high."""
    needs = plan[1][window, 5]
    empty(cell)
    for row in range(low, high):
        if rows[SEQ, row] <= questions[2][question]:
            add_event(cell, rows[TS, row], rows[SEQ, row], rows[VALUE, row], events[1], needs)
    is_there, value = _current(question, questions, plan[0][plan[1][window, 0]])
    if needs & DISTINCT:
        count_distinct(cell, is_there, value)
    _finish(cell, question, events[1], questions, plan, window, is_there, value, answers)


@part
def _finish(cell, question, is_float, questions, plan, window, is_there, value, answers):
    windows, outputs = plan[1], plan[2]
    for output in range(windows[window, 7], windows[window, 8]):
        answers[0][question, output], answers[1][question, output] = finish(
            cell,
            outputs[output, 1],
            outputs[output, 2],
            questions[1][question],
            is_float,
            windows[window, 5],
            is_there and outputs[output, 3] == 1,
            value,
        )
