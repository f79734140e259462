"""The states of keys as bytes: what the rest of mlkit asks the kernel for online and in the stream."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import orjson

from mlops_kit.errors import StoreError
from mlops_kit.features.kernel.cells import new_cell
from mlops_kit.features.kernel.questions import ask
from mlops_kit.features.kernel.state import (
    CHECKSUM,
    HEADER,
    LAYOUT,
    MAGIC,
    NEWEST_TS,
    TEXTS,
    WORDS,
    change,
)
from mlops_kit.features.kernel.tiles import MOST_FIXED
from mlops_kit.features.kernel.windows import Answers, Events
from mlops_kit.features.layout import FORMAT, Layout
from mlops_kit.schema import Array

MAGIC_WORD = int.from_bytes(b"mlkitst", "little") << 8 | FORMAT
"""The first word: what this is, and the format of its bytes."""

BYTES = 8
SUMMED_FROM = BYTES * (CHECKSUM + 1)


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


def apply_events(
    layout: Layout, states: Sequence[bytes | None], events: Events, texts: Mapping[int, str]
) -> Applied:
    """The state of each key after its events, which come in the order of their sequence numbers.

    The same events give the same bytes, however they are cut into calls, and whatever is given a second time
    changes nothing. `texts` has every text that the events' words stand for. Raises StoreError for a state that is
    damaged or of another layout.
    """
    checked = [_check(layout, state) for state in states]
    old, starts = _join(checked)
    rows = len(events.ts)
    verdicts = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    per_key = np.diff(events.starts)
    keys = np.repeat(np.arange(len(per_key)), per_key)
    arrays = (events.starts, events.ts, events.seq, events.words, np.lexsort((events.seq, events.ts, keys)))
    plan = (layout.slots, layout.groups, layout.tiled, layout.windows, _spans(layout))
    longest = int(np.diff(starts).max(initial=0)) + int(per_key.max(initial=0))
    cell, fold = new_cell(layout.most_newest, longest), np.zeros(longest, np.int64)
    out, ends = np.zeros(0, np.int64), np.zeros(len(starts), np.int64)
    progress = np.zeros(2, np.int64)
    room = len(old) + rows * (layout.words + 2) + len(per_key) * HEADER + len(layout.tiled) * MOST_FIXED
    while True:
        out = np.concatenate([out[: progress[1]], np.zeros(room, np.int64)])
        if change((old, starts), arrays, plan, cell, fold, verdicts, (out, ends), progress):
            break
        room = 2 * len(out)
    added = _texts_of_events(layout, events, verdicts, texts)
    changed = [
        _seal(layout, out[ends[key] : ends[key + 1]], checked[key], added.get(key, {}))
        if ends[key + 1] > ends[key]
        else None
        for key in range(len(states))
    ]
    return Applied(changed, *verdicts)


def answer(
    layout: Layout, states: Sequence[bytes | None], ts: Array, current: Array | None = None
) -> StateAnswers:
    """The aggregates of each key's windows as of ts, from its state; None is a key without events. Raises
    StoreError as above.
    """
    checked = [_check(layout, state) for state in states]
    words, starts = _join(checked)
    outputs = len(layout.outputs)
    answers = np.zeros((len(states), outputs), np.int64), np.zeros((len(states), outputs), np.bool_)
    facts = (np.zeros(len(states), np.bool_), np.zeros(len(states), np.int64), np.zeros(len(states), np.int64))
    asked = ts, np.zeros((0, layout.words), np.int64) if current is None else current
    plan = (layout.slots, layout.groups, layout.tiled, layout.windows, layout.outputs, _spans(layout))
    cell = new_cell(layout.most_newest, int(np.diff(starts).max(initial=0)))
    ask((words, starts), asked, plan, cell, answers, facts)
    texts = {word: text for state in checked if state for word, (_, text) in _read_texts(state).items()}
    return StateAnswers(Answers(*answers, texts), *facts)


def _spans(layout: Layout) -> Array:
    return np.array([layout.lateness_us, layout.raw_span_us], np.int64)


def _check(layout: Layout, state: bytes | None) -> bytes:
    """The state, or nothing. Nothing that the kernel reads may lead it out of its bounds."""
    if state is None:
        return b""
    header = np.frombuffer(state, np.int64, HEADER) if len(state) >= BYTES * HEADER else None
    if header is None or header[MAGIC] != MAGIC_WORD:
        raise StoreError("the state of a key is not what mlkit writes", "it is damaged, or of another version")
    if header[LAYOUT] != _layout_word(layout):
        raise StoreError("the state of a key is of other features", f"those of {layout.source!r} have changed")
    if BYTES * int(header[WORDS]) + int(header[TEXTS]) != len(state) or header[CHECKSUM] != zlib.crc32(
        memoryview(state)[SUMMED_FROM:]
    ):
        raise StoreError(
            "the state of a key is damaged", "its check sum is wrong", "materialize the features anew"
        )
    return state


def _layout_word(layout: Layout) -> int:
    return int(layout.digest[:15], 16)


def _join(states: Sequence[bytes]) -> tuple[Array, Array]:
    """The words of all states one after the other, and where each begins."""
    lengths = [int.from_bytes(state[BYTES * WORDS : BYTES * (WORDS + 1)], "little") for state in states]
    parts = [memoryview(state)[: BYTES * length] for state, length in zip(states, lengths, strict=True)]
    starts = np.fromiter(accumulate(lengths, initial=0), np.int64, len(lengths) + 1)
    return np.frombuffer(b"".join(parts) or bytes(BYTES), np.int64), starts


def _seal(layout: Layout, words: Array, old: bytes, added: Mapping[int, tuple[int, str]]) -> bytes:
    """A new state's bytes: its words, the texts that they may stand for, and a header that vouches for them."""
    written = b""
    if layout.keeps_texts:
        texts = _read_texts(old)
        for word, (ts, text) in added.items():
            texts[word] = max(texts.get(word, (ts, text)), (ts, text))
        oldest = int(words[NEWEST_TS]) - layout.retention_us
        written = orjson.dumps([[word, ts, text] for word, (ts, text) in sorted(texts.items()) if ts >= oldest])
    words[MAGIC], words[LAYOUT], words[TEXTS] = MAGIC_WORD, _layout_word(layout), len(written)
    state = bytearray(words.tobytes() + written)
    state[BYTES * CHECKSUM : SUMMED_FROM] = zlib.crc32(memoryview(state)[SUMMED_FROM:]).to_bytes(BYTES, "little")
    return bytes(state)


def _read_texts(state: bytes) -> dict[int, tuple[int, str]]:
    """Word → the time of its newest event, and the text."""
    length = int.from_bytes(state[BYTES * TEXTS : BYTES * (TEXTS + 1)], "little")
    if not length:
        return {}
    return {word: (ts, text) for word, ts, text in orjson.loads(memoryview(state)[-length:])}


def _texts_of_events(
    layout: Layout, events: Events, verdicts: tuple[Array, Array], texts: Mapping[int, str]
) -> Mapping[int, dict[int, tuple[int, str]]]:
    """For each key, the texts that its accepted events bring, with the time of the newest."""
    if not layout.keeps_texts:
        return {}
    columns = [place for place, kind in enumerate(layout.kinds) if kind == "string"]
    found: dict[int, dict[int, tuple[int, str]]] = {}
    keys = np.repeat(np.arange(len(events.starts) - 1), np.diff(events.starts))
    for row in np.flatnonzero(~(verdicts[0] | verdicts[1])):
        of_key = found.setdefault(int(keys[row]), {})
        for column in columns:
            if events.words[row, 0] >> column & 1:
                word, ts = int(events.words[row, 1 + column]), int(events.ts[row])
                of_key[word] = max(of_key.get(word, (ts, texts[word])), (ts, texts[word]))
    return found
