"""Rows of events (key, time, sequence, words) put where they belong: into portions, and by key."""

from mlops_kit.features.kernel.compiling import kernel
from mlops_kit.schema import Array

CODE, TS, SEQ, WORDS = range(4)
"""Columns of such a row; the words are all from the last on."""


@kernel
def divide_events(codes: Array, ts: Array, seq: Array, words: Array, ends: Array, out: Array) -> None:
    """Write the rows of each portion, which is code % ends.size, one after the other; code -1 is left out.

    `ends` has where each portion begins, and in the end where it ends.
    """
    for row in range(codes.size):
        code = codes[row]
        if code >= 0:
            portion = code % ends.size
            place = ends[portion]
            ends[portion] += 1
            out[place, CODE], out[place, TS], out[place, SEQ] = code, ts[row], seq[row]
            for word in range(words.shape[1]):
                out[place, WORDS + word] = words[row, word]


@kernel
def group_events(events: Array, portions: int, ends: Array, ts: Array, seq: Array, words: Array) -> bool:
    """Write the rows by key, which is code // portions, in their order; whether that is the order of time, and
    of sequence without repetition. `ends` is as above.
    """
    is_sorted = True
    for row in range(events.shape[0]):
        key = events[row, CODE] // portions
        place = ends[key]
        ends[key] += 1
        ts[place], seq[place] = events[row, TS], events[row, SEQ]
        for word in range(words.shape[1]):
            words[place, word] = events[row, WORDS + word]
    first = 0
    for key in range(ends.size):
        for place in range(first + 1, ends[key]):
            is_sorted &= ts[place - 1] <= ts[place] and seq[place - 1] < seq[place]
        first = ends[key]
    return is_sorted
