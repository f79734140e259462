"""Candidates for the least or the largest value: the events after which no event is as good.

The windows of one question end at the same event, so that one list serves all of them; each remembers where its
own candidates begin. `ends`: how many candidates there are, and the fewest there were since the last question.
"""

from mlops_kit.features.kernel.compiling import part
from mlops_kit.features.kernel.values import is_less


@part
def add_candidate(candidates, ends, values, event, is_float, is_largest):
    """Add the newest event."""
    end = ends[0]
    while end > 0:
        low, high = values[event], values[candidates[end - 1]]
        if not is_largest:
            low, high = high, low
        if is_less(low, high, is_float):
            break
        end -= 1
    candidates[end] = event
    ends[0], ends[1] = end + 1, min(ends[1], end)


@part
def first_candidate(candidates, begin, low):
    """Where the candidates begin that are not before the event `low`; those before `begin` are."""
    while candidates[begin] < low:
        begin += 1
    return begin
