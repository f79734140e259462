"""A cell: what is kept of some events of one slot, a window's or a tile's, from which every aggregate follows.

It is a tuple of arrays: `facts` (named below), `newest` (ts, seq and value of the newest events, newest first),
the accumulators `total` and `squares`, `seen` (every value, for counting the distinct ones) and `work`, for
rounding. Nothing in it depends on the order in which events were added.
"""

import numpy as np

from mlops_kit.features.kernel.compiling import part
from mlops_kit.features.kernel.exact import (
    LANES,
    LIMBS,
    MOST_ADDED,
    SQUARE_LANES,
    add,
    add_square,
    carry,
    clear,
    new_accumulator,
)
from mlops_kit.features.kernel.values import (
    COUNT,
    DISTINCT_COUNT,
    LARGEST,
    LATEST,
    LATEST_K,
    OLDEST,
    SINCE,
    SMALLEST,
    finish_sum,
    is_less,
)
from mlops_kit.features.layout import DISTINCT, FIRST, MAX, MIN, NEWEST, SQUARES, SUM

EVENTS, LEAST, MOST, FIRST_TS, FIRST_SEQ, FIRST_VALUE, KEPT, SEEN, DISTINCT_VALUES, WITH_CURRENT, ADDED = range(11)
"""`facts`: events; smallest and largest value; the first event; how many of `newest` and of `seen` there are;
distinct values, without and with the event that asks; additions since the lanes were carried.
"""


def new_cell(most_newest, most_seen):
    """An empty cell with room for so many newest events and values."""
    facts, newest = np.zeros(11, np.int64), np.zeros((most_newest, 3), np.int64)
    seen, work = np.zeros(most_seen, np.int64), np.zeros((2, LIMBS), np.uint64)
    return facts, newest, new_accumulator(LANES), new_accumulator(SQUARE_LANES), seen, work


@part
def empty(cell):
    """Forget all events."""
    facts, _, total, squares, _, _ = cell
    for fact in range(facts.size):
        facts[fact] = 0
    clear(total)
    clear(squares)


@part
def add_sums(cell, word, is_float, needs, is_removed):
    """Add a value to the accumulators that are needed, or take it away."""
    facts, _, total, squares, _, _ = cell
    if needs & SUM:
        add(total, word, is_float, is_removed)
    if needs & SQUARES:
        add_square(squares, word, is_float, is_removed)
    facts[ADDED] += 1
    if facts[ADDED] == MOST_ADDED:
        facts[ADDED] = 0
        carry(total)
        carry(squares)


@part
def add_event(cell, ts, seq, word, is_float, needs):
    """Add an event, older or newer than those in the cell."""
    facts, _, _, _, seen, _ = cell
    is_first = facts[EVENTS] == 0
    facts[EVENTS] += 1
    if needs & (SUM | SQUARES):
        add_sums(cell, word, is_float, needs, False)
    if needs & MIN and (is_first or is_less(word, facts[LEAST], is_float)):
        facts[LEAST] = word
    if needs & MAX and (is_first or is_less(facts[MOST], word, is_float)):
        facts[MOST] = word
    if needs & FIRST:
        add_first(cell, is_first, ts, seq, word)
    if needs & NEWEST:
        add_newest(cell, ts, seq, word)
    if needs & DISTINCT:
        seen[facts[SEEN]] = word
        facts[SEEN] += 1


@part
def add_first(cell, is_first, ts, seq, word):
    """Take the event for the first one if it is."""
    facts = cell[0]
    if is_first or ts < facts[FIRST_TS] or (ts == facts[FIRST_TS] and seq < facts[FIRST_SEQ]):
        facts[FIRST_TS], facts[FIRST_SEQ], facts[FIRST_VALUE] = ts, seq, word


@part
def add_newest(cell, ts, seq, word):
    """Put the event among the newest, if it belongs there."""
    facts, newest, _, _, _, _ = cell
    place = facts[KEPT]
    while place and (ts > newest[place - 1, 0] or (ts == newest[place - 1, 0] and seq > newest[place - 1, 1])):
        if place < newest.shape[0]:
            for part_of in range(3):
                newest[place, part_of] = newest[place - 1, part_of]
        place -= 1
    if place < newest.shape[0]:
        newest[place, 0], newest[place, 1], newest[place, 2] = ts, seq, word
        facts[KEPT] = min(facts[KEPT] + 1, newest.shape[0])


@part
def _sort(values):
    """Heapsort: NumPy's own needs memory, which the kernels do not take."""
    size = values.size
    for root in range(size // 2 - 1, -1, -1):
        _sift(values, root, size)
    for end in range(size - 1, 0, -1):
        values[0], values[end] = values[end], values[0]
        _sift(values, 0, end)


@part
def _sift(values, root, end):
    while 2 * root + 1 < end:
        child = 2 * root + 1
        if child + 1 < end and values[child] < values[child + 1]:
            child += 1
        if values[root] >= values[child]:
            return
        values[root], values[child] = values[child], values[root]
        root = child


@part
def count_distinct(cell, has_current, current):
    """Sort `seen`, leave every value once, and count them."""
    facts, _, _, _, seen, _ = cell
    kept, is_among = 0, False
    values = seen[: facts[SEEN]]
    _sort(values)
    for place in range(values.size):
        if place == 0 or values[place] != values[place - 1]:
            is_among |= has_current and values[place] == current
            values[kept] = values[place]
            kept += 1
    facts[SEEN] = kept
    facts[DISTINCT_VALUES] = kept
    facts[WITH_CURRENT] = kept + (1 if has_current and not is_among else 0)


@part
def finish(cell, aggregation, k, ts, is_float, needs, has_current, current):
    """One aggregate as of ts, as a word, and whether there is one. With `has_current`, the event that asks counts
    as the newest.
    """
    facts, newest, total, squares, _, work = cell
    count = facts[EVENTS] + has_current
    if aggregation == COUNT:
        return count, True
    if aggregation == DISTINCT_COUNT:
        return facts[WITH_CURRENT] if has_current else facts[DISTINCT_VALUES], True
    if aggregation in (SMALLEST, LARGEST):
        return _extreme(facts, aggregation == LARGEST, is_float, has_current, current), count > 0
    if aggregation == OLDEST:
        return facts[FIRST_VALUE] if facts[EVENTS] else current, count > 0
    if aggregation in (LATEST, LATEST_K, SINCE):
        place = max(k, 1) - 1
        if has_current and place == 0:
            return np.int64(0) if aggregation == SINCE else current, True
        place -= has_current
        if place >= facts[KEPT]:
            return np.int64(0), False
        return ts - newest[place, 0] if aggregation == SINCE else newest[place, 2], True
    if has_current:
        add_sums(cell, current, is_float, needs, False)
    word, is_valid = finish_sum(aggregation, count, total, squares, work)
    if has_current:
        add_sums(cell, current, is_float, needs, True)
    return word, is_valid


@part
def _extreme(facts, is_largest, is_float, has_current, current):
    if facts[EVENTS] == 0:
        return current
    found = facts[MOST] if is_largest else facts[LEAST]
    if has_current:
        if is_largest:
            return current if is_less(found, current, is_float) else found
        return current if is_less(current, found, is_float) else found
    return found
