"""Window values of sorted history: what the rest of mlkit asks the kernel for offline."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mlops_kit.features.kernel.cells import new_cell
from mlops_kit.features.kernel.sliding import new_buffers, slide
from mlops_kit.features.layout import Layout
from mlops_kit.schema import Array


@dataclass(frozen=True, slots=True)
class Events:
    """Events of several keys: those of key k are the rows from starts[k] to starts[k + 1].

    `starts` has shape (keys + 1,); `ts` and `seq` (rows,), int64; `words` (rows, layout.words), int64: bit c of
    the first word says that the event has the value of column c, bit 32 + i that it meets condition i; then the
    values: a float64's bits (never NaN, infinite or -0.0), an int64, a bool as 0 or 1, the word of a text
    (`text_word`).
    """

    starts: Array
    ts: Array
    seq: Array
    words: Array


@dataclass(frozen=True, slots=True)
class Questions:
    """The times at which vectors are wanted, of the same keys in the same order, ascending within a key.

    `limits`: the highest sequence number that a question may see; None for no limit. `current`: the words of the
    event that each question itself is, for features that include it; None if there are none.
    """

    starts: Array
    ts: Array
    limits: Array | None = None
    current: Array | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """`words` (questions, layout.outputs), int64, and whether each is there (`is_valid`).

    A count is an int64, a sum, a mean or a variance a float64's bits (std: still the variance), time_since_last
    microseconds, all others are values as events have them. `texts` has the texts that any of the words may stand
    for.
    """

    words: Array
    is_valid: Array
    texts: Mapping[int, str]


def text_word(text: str) -> int:
    """The int64 that stands for a text: 64 bits of BLAKE2b (RFC 7693)."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def window_values(
    layout: Layout, history: Events, questions: Questions, texts: Mapping[int, str], threads: int = 1
) -> Answers:
    """The aggregates of each question's windows over history sorted by (ts, seq) within each key.

    Several threads share the keys among them. `texts` is passed on.
    """
    asked = len(questions.ts)
    answers = np.zeros((asked, len(layout.outputs)), np.int64), np.zeros((asked, len(layout.outputs)), np.bool_)
    work = (
        (history.starts, history.ts, history.seq, history.words),
        (
            questions.starts,
            questions.ts,
            np.zeros(0, np.int64) if questions.limits is None else questions.limits,
            np.zeros((0, layout.words), np.int64) if questions.current is None else questions.current,
        ),
        (layout.slots, layout.windows, layout.outputs),
    )
    largest = int(np.diff(history.starts).max(initial=1))
    shares = _share(history.starts, questions.starts, threads)

    def run(keys: Array) -> None:
        slide(
            *work, new_cell(layout.most_newest, largest), new_buffers(largest, len(layout.windows)), keys, answers
        )

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        list(pool.map(run, shares))
    return Answers(*answers, texts)


def _share(history: Array, questions: Array, threads: int) -> list[Array]:
    """Ranges of keys with about as many events and questions each; more of them than threads."""
    keys = len(history) - 1
    if threads <= 1:
        return [np.array([0, keys], np.int64)]
    work = history + questions
    cuts = np.searchsorted(work, np.linspace(0, work[-1], 4 * threads + 1)[1:-1])
    edges = np.unique([0, *cuts, keys])
    return [np.array(pair, np.int64) for pair in pairwise(edges)]
