"""Windows over sorted history: every event enters a window once and leaves it once.

Where a question must not see events that arrived after it, and there are such events before it in time, its
windows are gathered event by event instead.
"""

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
    add_sums,
    count_distinct,
    empty,
    finish,
)
from mlops_kit.features.kernel.compiling import kernel, part
from mlops_kit.features.kernel.values import is_less, is_seen, lower_bound
from mlops_kit.features.layout import DISTINCT, MAX, MIN, NEWEST, SQUARES, SUM


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
        for slot in range(slots.shape[0]):
            events = _seen_events(history, starts[key], starts[key + 1], slots[slot], buffers)
            for window in range(windows.shape[0]):
                if windows[window, 0] == slot:
                    _slide_window(events, questions, key, plan, window, cell, buffers, answers)


def new_buffers(most_events):
    """Room for the events of one key: time, sequence and value of those that a slot sees, the highest sequence so
    far, the two queues of candidates for min and max, and a hash table of values.
    """
    table = 8
    while table < 2 * most_events:
        table *= 2
    return np.zeros((6, most_events), np.int64), np.zeros((2, table), np.int64), np.zeros(4, np.int64)


@part
def _seen_events(history, first, end, slot, buffers):
    _, ts, seq, words = history
    column, condition = slot[0], slot[1]
    kept, highest = 0, np.int64(-1)
    rows = buffers[0]
    for row in range(first, end):
        if is_seen(words[row, 0], column, condition):
            highest = max(highest, seq[row])
            rows[0, kept], rows[1, kept], rows[3, kept] = ts[row], seq[row], highest
            rows[2, kept] = words[row, 1 + column] if column >= 0 else 0
            kept += 1
    return kept, slot[2]


@part
def _slide_window(events, questions, key, plan, window, cell, buffers, answers):
    count, is_float = events
    starts, asked, limits, _ = questions
    rows, table, _ = buffers
    needs, span, hop = plan[1][window, 5], plan[1][window, 1], plan[1][window, 2]
    mask = _table_mask(table, count, needs)
    empty(cell)
    low, high = 0, 0
    queues = buffers[2]
    for end in range(4):
        queues[end] = 0
    distinct = 0
    for question in range(starts[key], starts[key + 1]):
        bound = lower_bound(asked[question], span, hop)
        while high < count and rows[0, high] < asked[question]:
            value = rows[2, high]
            if needs & (SUM | SQUARES):
                add_sums(cell, value, is_float, needs, False)
            if needs & (MIN | MAX):
                _queue(rows, high, queues, is_float)
            if needs & DISTINCT:
                distinct += _enter(table, mask, value)
            high += 1
        while low < high and rows[0, low] < bound:
            if needs & (SUM | SQUARES):
                add_sums(cell, rows[2, low], is_float, needs, True)
            if needs & DISTINCT:
                distinct -= _leave(table, mask, rows[2, low])
            low += 1
        if limits.size and high > low and rows[3, high - 1] > limits[question]:
            _gather(low, high, is_float, question, questions, plan, window, cell, rows, answers)
            _restore(cell, rows, low, high, is_float, needs)
        else:
            _describe(cell, rows, low, high, queues, needs)
            cell[0][DISTINCT_VALUES] = distinct
            _answer(question, is_float, questions, plan, window, cell, table, mask, answers)


@part
def _queue(rows, new, queues, is_float):
    """Keep the candidates for min (row 4) and max (row 5): no later event is as good. `queues`: where each begins
    and ends.
    """
    while queues[1] > queues[0] and not is_less(rows[2, rows[4, queues[1] - 1]], rows[2, new], is_float):
        queues[1] -= 1
    rows[4, queues[1]] = new
    queues[1] += 1
    while queues[3] > queues[2] and not is_less(rows[2, new], rows[2, rows[5, queues[3] - 1]], is_float):
        queues[3] -= 1
    rows[5, queues[3]] = new
    queues[3] += 1


@part
def _describe(cell, rows, low, high, queues, needs):
    """The facts of the events from low to high."""
    facts, newest, _, _, _, _ = cell
    facts[EVENTS] = high - low
    if high == low:
        facts[KEPT] = 0
        return
    if needs & (MIN | MAX):
        while rows[4, queues[0]] < low:
            queues[0] += 1
        while rows[5, queues[2]] < low:
            queues[2] += 1
        facts[LEAST], facts[MOST] = rows[2, rows[4, queues[0]]], rows[2, rows[5, queues[2]]]
    facts[FIRST_VALUE] = rows[2, low]
    if needs & NEWEST:
        facts[KEPT] = min(high - low, newest.shape[0])
        for place in range(facts[KEPT]):
            newest[place, 0], newest[place, 2] = rows[0, high - 1 - place], rows[2, high - 1 - place]


@part
def _current(question, questions, slot):
    """Whether the event that asks counts for a slot, and its value."""
    current = questions[3]
    if current.shape[0] == 0 or not is_seen(current[question, 0], slot[0], slot[1]):
        return False, np.int64(0)
    return True, current[question, 1 + slot[0]] if slot[0] >= 0 else np.int64(0)


@part
def _answer(question, is_float, questions, plan, window, cell, table, mask, answers):
    is_there, value = _current(question, questions, plan[0][plan[1][window, 0]])
    if plan[1][window, 5] & DISTINCT and is_there:
        cell[0][WITH_CURRENT] = cell[0][DISTINCT_VALUES] + (table[1, _find(table, mask, value)] <= 0)
    _finish(cell, question, is_float, questions, plan, window, is_there, value, answers)


@part
def _gather(low, high, is_float, question, questions, plan, window, cell, rows, answers):
    """Answer a question that may not see all events from low to high."""
    needs = plan[1][window, 5]
    empty(cell)
    for row in range(low, high):
        if rows[1, row] <= questions[2][question]:
            add_event(cell, rows[0, row], rows[1, row], rows[2, row], is_float, needs)
    is_there, value = _current(question, questions, plan[0][plan[1][window, 0]])
    if needs & DISTINCT:
        count_distinct(cell, is_there, value)
    _finish(cell, question, is_float, questions, plan, window, is_there, value, answers)


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


@part
def _restore(cell, rows, low, high, is_float, needs):
    """Back to all events from low to high."""
    empty(cell)
    if needs & (SUM | SQUARES):
        for row in range(low, high):
            add_sums(cell, rows[2, row], is_float, needs, False)


@part
def _table_mask(table, count, needs):
    """Empty as much of the hash table as so many events need."""
    size = 8
    while size < 2 * count:
        size *= 2
    if needs & DISTINCT:
        for place in range(size):
            table[1, place] = -1
    return size - 1


@part
def _find(table, mask, word):
    """The place of a value, or that where it would be put. Places that were never taken count -1."""
    place = np.int64((np.uint64(word) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
    while table[1, place] != -1 and table[0, place] != word:
        place = (place + 1) & mask
    return place


@part
def _enter(table, mask, word):
    """Count a value once more; whether it is the first."""
    place = _find(table, mask, word)
    if table[1, place] == -1:
        table[0, place], table[1, place] = word, 0
    table[1, place] += 1
    return table[1, place] == 1


@part
def _leave(table, mask, word):
    """Count it once less; whether it was the last."""
    place = _find(table, mask, word)
    table[1, place] -= 1
    return table[1, place] == 0
