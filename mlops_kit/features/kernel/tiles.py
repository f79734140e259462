"""Tiles: the events of one slot and hop, folded into the words from which any window that holds the whole tile can
be answered.

A tile is its start, its length in words and, for every slot of its group, a payload: its length, how many events,
and what the layout says is kept of them, in the order below.
"""

from mlops_kit.features.kernel.cells import (
    EVENTS,
    FIRST_SEQ,
    FIRST_TS,
    FIRST_VALUE,
    KEPT,
    LEAST,
    MOST,
    SEEN,
    add_first,
    add_newest,
    count_distinct,
)
from mlops_kit.features.kernel.compiling import part
from mlops_kit.features.kernel.exact import LANES, SQUARE_LANES, add_lanes, carry
from mlops_kit.features.kernel.values import is_less
from mlops_kit.features.layout import DISTINCT, FIRST, MAX, MIN, NEWEST, SQUARES, SUM

TILE_HEADER = 2
MOST_FIXED = LANES + SQUARE_LANES + 16
"""Words of a payload but for its newest events and distinct values, at most."""


@part
def find_payload(words, tile, place):
    """Where the payload of a tile's slot begins."""
    at = tile + TILE_HEADER
    for _ in range(place):
        at += words[at]
    return at


@part
def merge_payload(cell, words, at, is_float, kept, needs):
    """Add a payload's events to a cell, as far as `needs` goes. `kept`: what the payload has."""
    facts, _, total, squares, seen, _ = cell
    count = words[at + 1]
    if count == 0:
        return
    is_first = facts[EVENTS] == 0
    facts[EVENTS] += count
    at += 2
    if kept & SUM:
        at = _merge_lanes(total, words, at, needs & SUM)
    if kept & SQUARES:
        at = _merge_lanes(squares, words, at, needs & SQUARES)
    if kept & MIN:
        if is_first or is_less(words[at], facts[LEAST], is_float):
            facts[LEAST] = words[at]
        at += 1
    if kept & MAX:
        if is_first or is_less(facts[MOST], words[at], is_float):
            facts[MOST] = words[at]
        at += 1
    if kept & FIRST:
        add_first(cell, is_first, words[at], words[at + 1], words[at + 2])
        at += 3
    if kept & NEWEST:
        for place in range(words[at]):
            event = at + 1 + 3 * place
            add_newest(cell, words[event], words[event + 1], words[event + 2])
        at += 1 + 3 * words[at]
    if kept & DISTINCT and needs & DISTINCT:
        for place in range(words[at]):
            seen[facts[SEEN]] = words[at + 1 + place]
            facts[SEEN] += 1


@part
def _merge_lanes(total, words, at, is_needed):
    if is_needed:
        add_lanes(total, words, at + 2, words[at + 1], words[at])
    return at + 2 + words[at + 1]


@part
def payload_size(cell, newest):
    """Words that a payload of this cell takes at most."""
    return MOST_FIXED + 3 * newest + cell[0][SEEN]


@part
def write_payload(cell, out, at, kept, newest):
    """Write a cell as a payload; where the next one begins."""
    facts, newest_events, total, squares, seen, _ = cell
    start = at
    out[at + 1] = facts[EVENTS]
    at += 2
    if facts[EVENTS]:
        if kept & SUM:
            at = _write_lanes(total, out, at)
        if kept & SQUARES:
            at = _write_lanes(squares, out, at)
        if kept & MIN:
            out[at] = facts[LEAST]
            at += 1
        if kept & MAX:
            out[at] = facts[MOST]
            at += 1
        if kept & FIRST:
            out[at], out[at + 1], out[at + 2] = facts[FIRST_TS], facts[FIRST_SEQ], facts[FIRST_VALUE]
            at += 3
        if kept & NEWEST:
            out[at] = min(facts[KEPT], newest)
            for place in range(out[at]):
                for field in range(3):
                    out[at + 1 + 3 * place + field] = newest_events[place, field]
            at += 1 + 3 * out[at]
        if kept & DISTINCT:
            count_distinct(cell, False, 0)
            out[at] = facts[SEEN]
            for place in range(facts[SEEN]):
                out[at + 1 + place] = seen[place]
            at += 1 + out[at]
    out[start] = at - start
    return at


@part
def _write_lanes(total, out, at):
    carry(total)
    low, high = total[0], total[1]
    out[at], out[at + 1] = low, max(high - low + 1, 0)
    for lane in range(low, high + 1):
        out[at + 2 + lane - low] = total[2 + lane]
    return at + 2 + out[at + 1]
