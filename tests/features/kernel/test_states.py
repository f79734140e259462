"""States of keys: a function of the events alone, from which follows what sorted history says."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.errors import StoreError
from mlops_kit.features.definition.feature_set import EventSource, Field, KeyField, WindowFeature
from mlops_kit.features.kernel.states import answer, apply_events
from mlops_kit.features.kernel.windows import Events, Questions, text_word, window_values
from mlops_kit.features.layout import compile_layout
from tests.features.kernel.logs import LAYOUTS, LOGS, TEXTS, VALUES, events_of, words_of

CURRENT = st.tuples(st.fixed_dictionaries(VALUES), st.booleans())


def pushed(layout, log, cuts, states=(None, None, None)):
    """The states after the log, applied in portions that repeat a little of the one before."""
    states = list(states)
    edges = sorted({0, len(log), *cuts})
    for first, end in pairwise(edges):
        applied = apply_events(layout, states, events_of(layout, log, max(first - 2, 0), end), TEXTS)
        states = [new or old for new, old in zip(applied.states, states, strict=True)]
    return states


def values_of(answers):
    return [
        [
            (TEXTS | answers.texts).get(int(word), int(word)) if is_valid else None
            for word, is_valid in zip(row, valid, strict=True)
        ]
        for row, valid in zip(answers.words, answers.is_valid, strict=True)
    ]


@settings(max_examples=200, deadline=None)
@given(LAYOUTS, LOGS, st.lists(st.integers(0, 40), max_size=6))
def test_a_state_is_the_same_bytes_in_whatever_portions_its_events_come(layout, log, cuts):
    cuts = [min(cut, len(log)) for cut in cuts]
    at_once = pushed(layout, log, [])
    assert pushed(layout, log, cuts) == at_once
    assert pushed(layout, log, range(len(log))) == at_once


@settings(max_examples=300, deadline=None)
@given(
    LAYOUTS, LOGS, st.lists(st.integers(0, 30), min_size=3, max_size=3), st.lists(CURRENT, min_size=3, max_size=3)
)
def test_a_state_answers_as_sorted_history_does_from_its_frontier_on(layout, log, after, current):
    states = pushed(layout, log, [])
    frontiers = [
        max((ts for event_key, ts, *_ in log if event_key == key), default=0) - layout.lateness_us
        for key in range(3)
    ]
    words = np.array([words_of(layout, *event) for event in current], np.int64).reshape(3, layout.words)
    history = events_of(layout, log, by_time=True)
    for past in (0, 1, *after):
        ts = np.array(frontiers, np.int64) + past
        found = answer(layout, states, ts, words)
        assert not found.is_too_old.any()
        wanted = window_values(layout, history, Questions(np.arange(4), ts, None, words), TEXTS)
        assert values_of(found.answers) == values_of(wanted)


@settings(max_examples=50, deadline=None)
@given(LAYOUTS, LOGS)
def test_a_question_from_before_the_frontier_is_too_old(layout, log):
    newest = np.array([max((ts for event_key, ts, *_ in log if event_key == key), default=-1) for key in range(3)])
    found = answer(layout, pushed(layout, log, []), newest - layout.lateness_us - 1)
    assert found.is_too_old.tolist() == (newest >= 0).tolist()


@settings(max_examples=200, deadline=None)
@given(LAYOUTS, LOGS, st.integers(0, 100), st.integers(-1, 40))
def test_a_question_with_a_limit_sees_the_log_up_to_there(layout, log, asked, limit):
    ts = np.full(3, asked, np.int64)
    limits = np.full(3, limit, np.int64)
    seen = window_values(layout, events_of(layout, log, by_time=True), Questions(np.arange(4), ts, limits), TEXTS)
    before = events_of(layout, log, 0, limit + 1, by_time=True)
    assert values_of(seen) == values_of(window_values(layout, before, Questions(np.arange(4), ts), TEXTS))


@settings(max_examples=50, deadline=None)
@given(LAYOUTS, LOGS, st.integers(0, 100))
def test_threads_change_nothing(layout, log, asked):
    history, questions = events_of(layout, log, by_time=True), Questions(np.arange(4), np.full(3, asked, np.int64))
    one, three = (window_values(layout, history, questions, TEXTS, threads) for threads in (1, 3))
    assert values_of(one) == values_of(three)


LATEST = compile_layout(
    EventSource("log", (KeyField("k", "k", "int64"),), "t", (Field("s", "string"),), lateness_us=5),
    [WindowFeature("last", "log", 10, "last", "string", "s")],
)


def text_event(ts, seq, text):
    return Events(np.array([0, 1]), np.array([ts]), np.array([seq]), np.array([[1, text_word(text)]], np.int64)), {
        text_word(text): text
    }


def applied(state, ts, seq, text):
    return apply_events(LATEST, [state], *text_event(ts, seq, text))


def test_a_text_comes_back_and_is_forgotten_when_it_can_matter_no_more():
    [state] = applied(None, 100, 0, "früh").states
    assert values_of(answer(LATEST, [state], np.array([101])).answers) == [["früh"]]
    [state] = applied(state, 200, 1, "late").states
    assert "früh".encode() not in state
    assert values_of(answer(LATEST, [state], np.array([201])).answers) == [["late"]]


def test_an_event_that_can_matter_no_more_is_late_and_one_given_twice_repeated():
    [state] = applied(None, 100, 0, "a").states
    late = applied(state, 100 - 5 - 10 - 1, 1, "b")
    assert (late.is_late.tolist(), late.is_repeated.tolist()) == ([True], [False])
    in_time = applied(state, 100 - 5 - 10, 1, "b")
    assert in_time.is_late.tolist() == [False]
    again = applied(late.states[0], 102, 1, "c")
    assert (again.states, again.is_repeated.tolist()) == ([None], [True])


def test_a_state_tells_what_it_has_applied_and_the_newest_event_before_the_question():
    [state] = applied(None, 100, 7, "a").states
    [state] = applied(state, 104, 9, "b").states
    found = answer(LATEST, [state, None], np.array([104, 104]))
    assert (found.applied.tolist(), found.newest.tolist()) == ([9, -1], [100, -1])


@pytest.mark.parametrize("place", [0, 8, 16, 24, 60, 90, -1])
def test_a_damaged_state_is_refused(place):
    [state] = applied(None, 100, 0, "a").states
    damaged = bytearray(state)
    damaged[place] ^= 1
    with pytest.raises(StoreError):
        answer(LATEST, [bytes(damaged)], np.array([100]))
    with pytest.raises(StoreError):
        answer(LATEST, [state[:-1]], np.array([100]))
    with pytest.raises(StoreError):
        answer(LATEST, [b""], np.array([100]))


def test_a_state_of_other_features_is_refused():
    [state] = applied(None, 100, 0, "a").states
    other = compile_layout(
        EventSource("log", (KeyField("k", "k", "int64"),), "t", (Field("s", "string"),), lateness_us=6),
        [WindowFeature("last", "log", 10, "last", "string", "s")],
    )
    with pytest.raises(StoreError, match="other features"):
        answer(other, [state], np.array([100]))
