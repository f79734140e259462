"""join gives what the plain Python oracle gives, bit for bit."""

from dataclasses import replace

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.histories import CONDITIONS, Case, cases
from tests.features.offline.places import joined, written
from tests.features.oracle import is_same, window_features


def check(case: Case, answers: list[dict[str, object]]) -> None:
    for question, answer in zip(case.questions, answers, strict=True):
        expected = window_features(case.features, case.source, case.log, question, CONDITIONS)
        differing = {
            name: (answer[name], value) for name, value in expected.items() if not is_same(answer[name], value)
        }
        assert not differing
        assert list(answer) == list(expected)


@settings(max_examples=120)
@given(case=cases(), files=st.integers(1, 3), group_rows=st.integers(1, 9))
def test_every_window_is_what_the_oracle_says(case: Case, files: int, group_rows: int) -> None:
    with written(case, files, group_rows) as features:
        check(case, joined(features, case))


@settings(max_examples=60)
@given(case=cases(), limits=st.lists(st.integers(-1, 30), min_size=8, max_size=8))
def test_a_row_sees_only_what_was_applied_before_it(case: Case, limits: list[int]) -> None:
    """Also events that are older than others, but arrived after them."""
    limited = zip(case.questions, limits, strict=False)
    case = replace(case, questions=[replace(question, limits={"clicks": limit}) for question, limit in limited])
    with written(case, 2) as features:
        check(case, joined(features, case))


@settings(max_examples=30)
@given(case=cases(most_events=60))
def test_memory_portions_and_spilling_change_nothing(case: Case) -> None:
    with written(case) as features:
        check(case, joined(features, case, memory_bytes=2000))


@settings(max_examples=30)
@given(case=cases())
def test_nanoseconds_are_floored(case: Case) -> None:
    log = [replace(event, ts=None if event.ts is None else event.ts * 1000 + 999) for event in case.log]
    with written(replace(case, log=log), dtype=pl.Datetime("ns")) as features:
        check(case, joined(features, case))
