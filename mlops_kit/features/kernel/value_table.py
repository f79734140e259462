"""A hash table that counts how often each value occurs in a window. Places that were never taken count -1."""

import numpy as np

from mlops_kit.features.kernel.compiling import part


@part
def empty_table(table, count):
    """Empty as much of it as so many events need; the mask of that."""
    size = 8
    while size < 2 * count:
        size *= 2
    for place in range(size):
        table[1, place] = -1
    return size - 1


@part
def _find(table, mask, word):
    """The place of a value, or that where it would be put."""
    place = np.int64((np.uint64(word) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
    while table[1, place] != -1 and table[0, place] != word:
        place = (place + 1) & mask
    return place


@part
def enter(table, mask, word):
    """Count a value once more; whether it is the first."""
    place = _find(table, mask, word)
    if table[1, place] == -1:
        table[0, place], table[1, place] = word, 0
    table[1, place] += 1
    return table[1, place] == 1


@part
def leave(table, mask, word):
    """Count it once less; whether it was the last."""
    place = _find(table, mask, word)
    table[1, place] -= 1
    return table[1, place] == 0


@part
def is_absent(table, mask, word):
    """Whether no event has this value."""
    return table[1, _find(table, mask, word)] <= 0
