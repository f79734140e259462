"""What the rest of mlkit asks the kernel for: window values of sorted history, and of the states of keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops_kit.features.layout import Layout
from mlops_kit.schema import Array


@dataclass(frozen=True, slots=True)
class Events:
    """Events of several keys: those of key k are the rows from starts[k] to starts[k + 1].

    `starts` has shape (keys + 1,); `ts` and `seq` (rows,), int64; `words` (rows, layout.words), int64: bit c of the
    first word says that the event has the value of column c, bit 32 + i that it meets condition i; then the values:
    a float64's bits (never NaN, infinite or -0.0), an int64, a bool as 0 or 1, the word of a text (`text_word`).
    """

    starts: Array
    ts: Array
    seq: Array
    words: Array


@dataclass(frozen=True, slots=True)
class Questions:
    """The times at which vectors are wanted, of the same keys in the same order, ascending within a key.

    `limits`: the highest sequence number that a question may see; None for no limit. `current`: the words of the event
    that each question itself is, for features that include it; None if there are none.
    """

    starts: Array
    ts: Array
    limits: Array | None = None
    current: Array | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """`words` (questions, layout.outputs), int64, and whether each is there (`is_valid`).

    A count is an int64, a sum, a mean or a variance a float64's bits (std: still the variance), time_since_last
    microseconds, all others are values as events have them. `texts` has the texts that any of the words may stand for.
    """

    words: Array
    is_valid: Array
    texts: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class StateAnswers:
    """`answers` of one question per key; what state says of itself has shape (keys,).

    - `is_too_old`: the question is older than what the state can still answer; its answers mean nothing.
    - `applied`: the sequence number of the newest event that the state has applied; -1 without state.
    - `newest`: the time of the newest event by time; -1 without state.
    """

    answers: Answers
    is_too_old: Array
    applied: Array
    newest: Array


@dataclass(frozen=True, slots=True)
class Applied:
    """The states after events. `is_repeated`: events that the state had applied before, by their sequence number;
    `is_late`: those too old to matter for any question that the state can still answer. Both of shape (events,).
    `states` has None for a key whose state did not change.
    """

    states: Sequence[bytes | None]
    is_repeated: Array
    is_late: Array


def text_word(text: str) -> int:
    """The int64 that stands for a text: 64 bits of BLAKE2b (RFC 7693)."""
    raise NotImplementedError


def window_values(layout: Layout, history: Events, questions: Questions, texts: Mapping[int, str]) -> Answers:
    """The aggregates of each question's windows over history sorted by (ts, seq) within each key.

    Runs without the GIL, so that threads may share the keys among them. `texts` is passed on.
    """
    raise NotImplementedError


def apply_events(
    layout: Layout, states: Sequence[bytes | None], events: Events, texts: Mapping[int, str]
) -> Applied:
    """The state of each key after its events, which come in the order of their sequence numbers.

    The same events give the same bytes, however they are cut into calls, and whatever is given a second time changes
    nothing. `texts` has every text that the events' words stand for. Raises StoreError for a state that is damaged or
    of another layout.
    """
    raise NotImplementedError


def answer(
    layout: Layout, states: Sequence[bytes | None], ts: Array, current: Array | None = None
) -> StateAnswers:
    """The aggregates of each key's windows as of ts, from its state; None is a key without events. Raises as above."""
    raise NotImplementedError
