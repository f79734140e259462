"""The state of one key as words, and how events change it.

A state is a header, the recent events ("raw": time, sequence, words; by time, then sequence) and, for each group
of the layout, the number of its tiles and the tiles. The frontier is the time of the newest event less the
source's lateness: events before it are folded into tiles, and questions from it on can be answered. The words are
a function of the events alone, not of the order or the portions in which they came.
"""

from mlops_kit.features.kernel.cells import add_event, empty
from mlops_kit.features.kernel.compiling import kernel, part
from mlops_kit.features.kernel.tiles import (
    TILE_HEADER,
    find_payload,
    merge_payload,
    payload_size,
    write_payload,
)
from mlops_kit.features.kernel.values import is_seen, lower_bound

HEADER = 8
MAGIC, LAYOUT, CHECKSUM, APPLIED, NEWEST_TS, RAW, WORDS, TEXTS = range(HEADER)
"""Words of the header. RAW counts events, WORDS the whole state but its texts, TEXTS the bytes of those."""


@kernel
def change(states, events, layout, cell, fold, verdicts, out, progress):
    """Write the states of all keys after their events, as far as `out` has room.

    states: words, and where those of each key begin (keys + 1,). events: starts, ts, seq, words, in the order of
    the sequence, and `by_time`: for each key its rows by (ts, seq). layout: slots, groups, tiled, windows, spans
    (lateness, raw span). fold: room for row numbers. verdicts: is_repeated, is_late. out: words, and where each
    key's begin; a key whose state does not change takes none. progress: the next key; the words written.
    """
    starts = events[0]
    for key in range(progress[0], starts.size - 1):
        begin = progress[1]
        out[1][key] = begin
        end = _change_key(key, states, events, layout, cell, fold, verdicts, out[0], begin)
        if end < 0:
            return False
        progress[0], progress[1] = key + 1, end
        out[1][key + 1] = end
    return True


@part
def _change_key(key, states, events, layout, cell, fold, verdicts, out, begin):
    """Where the key's new state ends, or -1 if there is no room."""
    old, width = states[0], events[3].shape[1] + 2
    at, is_known = states[1][key], states[1][key + 1] > states[1][key]
    applied = old[at + APPLIED] if is_known else -1
    before = old[at + NEWEST_TS] if is_known else -1
    raw = old[at + RAW] if is_known else 0
    newest = _judge(key, events, layout, verdicts, applied, before)
    first, end = events[0][key], events[0][key + 1]
    after = applied
    for row in range(first, end):
        after = max(after, events[2][row])
    if after == applied:
        return begin
    if begin + HEADER + (raw + end - first) * width > out.size:
        return -1
    lateness, span = layout[4][0], layout[4][1]
    frontier = newest - lateness
    bounds = frontier - span, (before - lateness if is_known else -(1 << 62)), frontier
    kept, folded = _merge_raw(key, states, events, verdicts, bounds, fold, out, begin)
    place = begin + HEADER + kept * width
    tiles = at + HEADER + raw * width
    for group in range(layout[1].shape[0]):
        place = _merge_tiles(
            group, states, tiles, is_known, folded, frontier, events, layout, cell, fold, out, place
        )
        if place < 0:
            return -1
        if is_known:
            tiles = _skip_tiles(old, tiles)
    for word in range(HEADER):
        out[begin + word] = 0
    out[begin + APPLIED], out[begin + NEWEST_TS] = after, newest
    out[begin + RAW], out[begin + WORDS] = kept, place - begin
    return place


@part
def _judge(key, events, layout, verdicts, applied, newest):
    """Mark what was applied before and what is too late; the time of the newest event."""
    windows, lateness = layout[3], layout[4][0]
    for row in range(events[0][key], events[0][key + 1]):
        if events[2][row] <= applied:
            verdicts[0][row] = True
            continue
        applied = events[2][row]
        newest = max(newest, events[1][row])
        is_late = True
        for window in range(windows.shape[0]):
            is_late &= events[1][row] < lower_bound(newest - lateness, windows[window, 1], windows[window, 2])
        verdicts[1][row] = is_late
    return newest


@part
def _merge_raw(key, states, events, verdicts, bounds, fold, out, begin):
    """Write the raw events, old and new, that are kept; note those to fold. How many of each.

    bounds: the time from which on to keep; the times from which and to which to fold, for an old event. An event
    to fold is noted as its row, an old one as -1 - its place in the old state.
    """
    old, at = states[0], states[1][key]
    keep_from, fold_from, fold_to = bounds
    width = events[3].shape[1] + 2
    raw = old[at + RAW] if states[1][key + 1] > at else 0
    taken, row, end = 0, events[0][key], events[0][key + 1]
    kept, folded, place = 0, 0, begin + HEADER
    while taken < raw or row < end:
        event = events[4][row] if row < end else -1
        if event >= 0 and (verdicts[0][event] or verdicts[1][event]):
            row += 1
            continue
        mine = at + HEADER + taken * width
        if event < 0 or (taken < raw and _is_before(old[mine], old[mine + 1], events[1][event], events[2][event])):
            ts, is_new, noted = old[mine], False, -1 - mine
            taken += 1
        else:
            ts, is_new, noted = events[1][event], True, event
            row += 1
        if ts < fold_to and (is_new or ts >= fold_from):
            fold[folded] = noted
            folded += 1
        if ts >= keep_from:
            if is_new:
                out[place], out[place + 1] = ts, events[2][event]
                for word in range(width - 2):
                    out[place + 2 + word] = events[3][event, word]
            else:
                for word in range(width):
                    out[place + word] = old[mine + word]
            place += width
            kept += 1
    return kept, folded


@part
def _is_before(ts, seq, other_ts, other_seq):
    return ts < other_ts or (ts == other_ts and seq < other_seq)


@part
def _skip_tiles(words, at):
    count = words[at]
    at += 1
    for _ in range(count):
        at += words[at + 1]
    return at


@part
def _fold_ts(fold, place, old, events):
    noted = fold[place]
    return events[1][noted] if noted >= 0 else old[-1 - noted]


@part
def _merge_tiles(group, states, tiles, is_known, folded, frontier, events, layout, cell, fold, out, place):
    """Write a group's tiles: the old ones, and those that folded events fall into. Where the next group begins, or
    -1.
    """
    old = states[0]
    hop = layout[1][group, 0]
    keep_from = lower_bound(frontier, layout[1][group, 1], hop)
    left, at = (old[tiles], tiles + 1) if is_known else (0, tiles)
    if place + 1 > out.size:
        return -1
    counter, event = place, 0
    out[counter] = 0
    place += 1
    while left or event < folded:
        ts = _fold_ts(fold, event, old, events) if event < folded else 0
        start = ts - ts % hop
        has_old = left > 0 and (event == folded or old[at] <= start)
        if has_old:
            start = old[at]
        until = event
        while until < folded and _fold_ts(fold, until, old, events) < start + hop:
            until += 1
        length = old[at + 1] if has_old else 0
        if start >= keep_from:
            if until == event:
                place = _copy(old, at, length, out, place)
            else:
                tile = at if has_old else -1
                place = _write_tile(group, tile, start, event, until, old, events, layout, cell, fold, out, place)
            if place < 0:
                return -1
            out[counter] += 1
        if has_old:
            left -= 1
            at += length
        event = until
    return place


@part
def _copy(old, at, length, out, place):
    if place + length > out.size:
        return -1
    for word in range(length):
        out[place + word] = old[at + word]
    return place + length


@part
def _write_tile(group, tile, start, first, until, old, events, layout, cell, fold, out, place):
    """Write the tile that begins at `start`: what the old one has (-1: nothing), and the folded events."""
    slots, groups, tiled = layout[0], layout[1], layout[2]
    begin = place
    place += TILE_HEADER
    for position in range(groups[group, 2], groups[group, 3]):
        slot, kept, newest = tiled[position, 0], tiled[position, 1], tiled[position, 2]
        column, condition, is_float = slots[slot, 0], slots[slot, 1], slots[slot, 2]
        empty(cell)
        if tile >= 0:
            payload = find_payload(old, tile, position - groups[group, 2])
            merge_payload(cell, old, payload, is_float, kept, kept)
        for place_of in range(first, until):
            noted = fold[place_of]
            if noted >= 0:
                if is_seen(events[3][noted, 0], column, condition):
                    value = events[3][noted, 1 + column] if column >= 0 else 0
                    add_event(cell, events[1][noted], events[2][noted], value, is_float, kept)
            else:
                at = -1 - noted
                if is_seen(old[at + 2], column, condition):
                    value = old[at + 3 + column] if column >= 0 else 0
                    add_event(cell, old[at], old[at + 1], value, is_float, kept)
        if place + payload_size(cell, newest) > out.size:
            return -1
        place = write_payload(cell, out, place, kept, newest)
    out[begin], out[begin + 1] = start, place - begin
    return place
