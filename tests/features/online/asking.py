"""Questions to the reader and to the oracle, and whether both say the same."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.pushing import push_to_memory
from mlops_kit.features.online.vectors import FeatureReader, Vectors
from mlops_kit.schema import Array
from mlops_kit.stores.interface import Store
from tests.features.histories import CONDITIONS, Case, events_frame
from tests.features.oracle import Happening, Question, is_same, window_features


def in_sequence(case: Case, lateness_us: int) -> Case:
    """The same case, its events in the order of their numbers, as a source hands them out."""
    source = replace(case.source, lateness_us=lateness_us)
    features = replace(case.features, events=(source,))
    return Case(features, sorted(case.log, key=lambda event: event.seq), case.questions)


def ask(case: Case, store: Store, questions: Sequence[Question]) -> Vectors:
    times = np.array([question.ts for question in questions], np.int64)
    return FeatureReader(case.features, store).read(columns_of(case, questions), times)


def columns_of(case: Case, questions: Sequence[Question]) -> dict[str, Array]:
    """As a server has them."""
    names = [field.name for field in case.source.key] + [field.name for field in case.source.fields]
    columns = {name: np.empty(len(questions), object) for name in names}
    for name, column in columns.items():
        column[:] = [question.row[name] for question in questions]
    return columns


def assert_right(case: Case, store: Store, since_us: int | None = None) -> None:
    """Every answer is the oracle's, bit for bit, but for questions that the state says it cannot answer."""
    vectors = ask(case, store, case.questions)
    for row, question in enumerate(case.questions):
        if vectors.is_too_old[row]:
            assert is_allowed_to_be_too_old(case, question, since_us)
            continue
        expected = window_features(case.features, case.source, case.log, question, CONDITIONS)
        found = {name: plain(values, row) for name, values in vectors.values.items()}
        wrong = {name: (found[name], value) for name, value in expected.items() if not is_same(found[name], value)}
        assert not wrong, (question, wrong)


def is_allowed_to_be_too_old(case: Case, question: Question, since_us: int | None) -> bool:
    newest = max((event.ts for event in case.log if event.ts is not None), default=0)
    horizon = newest if since_us is None else max(newest, since_us)
    return question.ts < horizon - case.source.lateness_us


def plain(values: Any, row: int) -> Any:
    value = values[row]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and value != value else value


def undisturbed(case: Case, events: Sequence[Happening]) -> dict[bytes, bytes]:
    """The states after the events, one by one."""
    layout, states = compile_layout(case.source, case.features.windows), dict[bytes, bytes]()
    for event in events:
        push_to_memory(case.source, layout, states, events_frame(case.source, [event]), np.array([event.seq]))
    return states
