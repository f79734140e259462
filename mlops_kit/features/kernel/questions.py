"""Answers from the state of a key: the tiles that a window holds, then the events since."""

from mlops_kit.features.kernel.cells import add_event, count_distinct, empty, finish
from mlops_kit.features.kernel.compiling import kernel, part
from mlops_kit.features.kernel.state import APPLIED, HEADER, NEWEST_TS, RAW
from mlops_kit.features.kernel.tiles import find_payload, merge_payload
from mlops_kit.features.kernel.values import is_seen, lower_bound
from mlops_kit.features.layout import DISTINCT


@kernel
def ask(states, asked, layout, cell, answers, facts):
    """Answer one question of each key.

    states: words, and where those of each key begin. asked: ts, current (may have no rows). layout: slots, groups,
    tiled, windows, outputs, spans. answers: words, is_valid. facts: is_too_old, applied, newest.
    """
    for key in range(asked[0].size):
        begin, end = states[1][key], states[1][key + 1]
        ts = asked[0][key]
        raw = (begin + HEADER, begin + HEADER, ts)
        frontier = ts
        facts[1][key], facts[2][key] = -1, -1
        if end > begin:
            frontier = states[0][begin + NEWEST_TS] - layout[5][0]
            width = asked[1].shape[1] + 2
            raw = _visible(states[0], begin, width, ts)
            facts[1][key] = states[0][begin + APPLIED]
            if raw[1] > raw[0]:
                facts[2][key] = states[0][raw[1] - width]
        facts[0][key] = ts < frontier
        for window in range(layout[3].shape[0]):
            _ask_window(key, window, states, begin, end, raw, frontier, asked, layout, cell, answers)


@part
def _visible(words, begin, width, ts):
    """Where the raw events before ts begin and end, and where tiles begin."""
    first, count = begin + HEADER, words[begin + RAW]
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if words[first + middle * width] < ts:
            low = middle + 1
        else:
            high = middle
    return first, first + low * width, first + count * width


@part
def _ask_window(key, window, states, begin, end, raw, frontier, asked, layout, cell, answers):
    slots, windows = layout[0], layout[3]
    slot, needs, hop = windows[window, 0], windows[window, 5], windows[window, 2]
    column, condition, is_float = slots[slot, 0], slots[slot, 1], slots[slot, 2]
    words, ts = states[0], asked[0][key]
    bound = lower_bound(ts, windows[window, 1], hop)
    empty(cell)
    if hop and end > begin:
        _add_tiles(window, words, raw[2], bound, is_float, layout, cell)
        bound = max(bound, frontier)
    width = asked[1].shape[1] + 2
    at = raw[1] - width
    while at >= raw[0] and words[at] >= bound:
        if is_seen(words[at + 2], column, condition):
            value = words[at + 3 + column] if column >= 0 else 0
            add_event(cell, words[at], words[at + 1], value, is_float, needs)
        at -= width
    current = asked[1]
    has_current = current.shape[0] > 0 and is_seen(current[key, 0], column, condition) != 0
    value = current[key, 1 + column] if has_current and column >= 0 else 0
    if needs & DISTINCT:
        count_distinct(cell, has_current, value)
    for output in range(windows[window, 7], windows[window, 8]):
        answers[0][key, output], answers[1][key, output] = finish(
            cell,
            layout[4][output, 1],
            layout[4][output, 2],
            ts,
            is_float,
            needs,
            has_current and layout[4][output, 3] == 1,
            value,
        )


@part
def _add_tiles(window, words, at, bound, is_float, layout, cell):
    """Add the tiles that begin at the bound or after it."""
    groups, tiled, windows = layout[1], layout[2], layout[3]
    group, place = windows[window, 3], windows[window, 4]
    kept = tiled[groups[group, 2] + place, 1]
    for other in range(group + 1):
        count = words[at]
        at += 1
        for _ in range(count):
            if other == group and words[at] >= bound:
                merge_payload(cell, words, find_payload(words, at, place), is_float, kept, windows[window, 5])
            at += words[at + 1]
