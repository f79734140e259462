import random
import timeit
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_kit.errors import StoreError
from mlops_kit.features.definition.feature_set import EventSource, FeatureSet, Field, KeyField, WindowFeature
from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.pushing import TOO_LATE, Pusher
from mlops_kit.features.online.vectors import FeatureReader
from mlops_kit.stores.interface import Store
from mlops_kit.stores.resolve import open_store
from tests.features.histories import Case, cases
from tests.features.online.asking import assert_right, in_sequence, undisturbed
from tests.features.online.crashing_store import CrashingStore
from tests.features.online.memory_store import MemoryStore
from tests.features.online.pushes import push, push_with_crashes, states_of

LATENESS = st.sampled_from([0, 4, 100])
H = 3_600_000_000
SOURCE = EventSource("clicks", (KeyField("user", "user", "int64"),), "at", (Field("x", "float64"),), lateness_us=H)
WINDOWS = (
    WindowFeature("n", "clicks", H, "count", "int64"),
    WindowFeature("total", "clicks", H, "sum", "float64", "x"),
    WindowFeature("spread", "clicks", 24 * H, "std", "float64", "x", hop_us=H),
)
FEATURES = FeatureSet((SOURCE,), (), WINDOWS, ())
LAYOUT = compile_layout(SOURCE, WINDOWS)
T0 = 1_700_000_000_000_000
SOURCE_AT_ONCE = replace(SOURCE, lateness_us=60_000_000)


@given(cases(), LATENESS)
@settings(max_examples=60)
def test_events_pushed_one_by_one_give_the_oracles_answers(case: Case, lateness_us: int) -> None:
    case, store = in_sequence(case, lateness_us), MemoryStore()
    for event in case.log:
        push(case, store, [event])
    assert_right(case, store)


@given(cases(), LATENESS, st.data())
@settings(max_examples=60)
def test_any_batches_with_crashes_and_replays_give_the_undisturbed_bytes(
    case: Case, lateness_us: int, data: st.DataObject
) -> None:
    case, store = in_sequence(case, lateness_us), MemoryStore()
    push_with_crashes(case, store, data)
    assert states_of(store, compile_layout(case.source, case.features.windows)) == undisturbed(case, case.log)
    assert_right(case, store)


@given(cases(), LATENESS, st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_in_every_kind_of_store_crashes_and_replays_give_the_undisturbed_bytes(
    store_uri: str, case: Case, lateness_us: int, data: st.DataObject
) -> None:
    case = in_sequence(case, lateness_us)
    with closing(CrashingStore(store_uri)) as store:
        push_with_crashes(case, store, data)
        layout = compile_layout(case.source, case.features.windows)
        assert states_of(store, layout) == undisturbed(case, case.log)
        assert_right(case, store)


def some_events(rows: int, users: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    at = 1_700_000_000_000_000 + np.arange(rows) * 10_000_000 + rng.integers(-H // 2, H // 2, rows)
    return pl.DataFrame({"user": rng.integers(0, users, rows), "at": at, "x": rng.normal(size=rows)})


def states_after(events: pl.DataFrame, seq: np.ndarray) -> dict[bytes, bytes]:
    store = MemoryStore()
    Pusher(SOURCE, LAYOUT, store).push(events, seq)
    return states_of(store, LAYOUT)


def test_what_is_pushed_again_changes_nothing_and_is_counted(store: Store) -> None:
    events, seq = some_events(300, 20), np.arange(300)
    pusher = Pusher(SOURCE, LAYOUT, store)
    first = pusher.push(events, seq)
    before = states_of(store, LAYOUT)
    again = pusher.push(events[100:], seq[100:])
    assert (first.applied + first.late, first.repeated) == (300, 0)
    assert (again.applied, again.repeated) == (0, 200)
    assert states_of(store, LAYOUT) == before == states_after(events, seq)


def test_a_batch_is_applied_in_the_order_of_its_sequence_numbers() -> None:
    events, seq = some_events(300, 20), np.arange(300)
    order = np.random.default_rng(1).permutation(300)
    assert states_after(events[order], seq[order]) == states_after(events, seq)


def test_pushers_of_the_same_events_at_once_give_the_undisturbed_bytes(store_uri: str) -> None:
    events, seq = some_events(400, 5), np.arange(400)

    def push_all(seed: int) -> None:
        sizes = random.Random(seed)
        with closing(open_store(store_uri)) as store:
            pusher, done = Pusher(SOURCE, LAYOUT, store), 0
            while done < len(events):
                end = done + sizes.randint(1, 90)
                pusher.push(events[done:end], seq[done:end])
                done = end

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(push_all, range(3)))
    with closing(open_store(store_uri)) as store:
        assert states_of(store, LAYOUT) == states_after(events, seq)


def test_pushers_of_different_keys_at_once_do_not_disturb_each_other(store_uri: str) -> None:
    events, seq = some_events(600, 9), np.arange(600)

    def push_share(share: int) -> None:
        mine = (events["user"] % 3 == share).to_numpy()
        with closing(open_store(store_uri)) as store:
            pusher = Pusher(SOURCE, LAYOUT, store)
            for first in range(0, int(mine.sum()), 50):
                rows = np.flatnonzero(mine)[first : first + 50]
                pusher.push(events[rows], seq[rows])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(push_share, range(3)))
    with closing(open_store(store_uri)) as store:
        assert states_of(store, LAYOUT) == states_after(events, seq)
        assert Pusher(SOURCE, LAYOUT, store).acknowledged == 599


def test_refused_and_late_events_are_told_with_their_reasons() -> None:
    at = 1_700_000_000_000_000
    events = pl.DataFrame(
        {
            "user": [1, None, 1, 1, 1, 1],
            "at": [at, at, None, at - 40 * H, at - 2, at - 1],
            "x": [1.0, 1.0, 1.0, 1.0, float("inf"), 1.0],
        }
    )
    pushed = Pusher(SOURCE, LAYOUT, MemoryStore()).push(events, np.array([0, 1, 2, 3, 4, -1]), {})
    assert [dead.row for dead in pushed.dead] == [1, 2, 3, 4, 5]
    assert [dead.reason for dead in pushed.dead][2] == TOO_LATE
    assert (pushed.applied, pushed.late, pushed.last) == (1, 1, 4)


def test_a_key_that_others_write_all_the_time_is_given_up_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    pusher = Pusher(SOURCE, LAYOUT, store)
    monkeypatch.setattr(store, "write", lambda space, writes: [False] * len(writes))
    monkeypatch.setattr("mlops_kit.features.online.states.LONGEST_PAUSE_S", 0)
    with pytest.raises(StoreError, match="others write the same keys"):
        pusher.push(some_events(1, 1), np.array([0]))


def test_a_key_with_a_million_events_in_a_window_with_a_hop_answers_like_one_with_few() -> None:
    window = WindowFeature("total", "clicks", 24 * H, "sum", "float64", "x", hop_us=H)
    features, store = FeatureSet((SOURCE,), (), (window,), ()), MemoryStore()
    rows = 1_000_000
    heavy = pl.DataFrame({"user": 1, "at": T0 + np.arange(rows) * (20 * H // rows), "x": 0.5})
    light = pl.DataFrame({"user": 2, "at": T0 + np.arange(40) * (H // 2), "x": 0.5})
    pusher = Pusher(SOURCE_AT_ONCE, compile_layout(SOURCE_AT_ONCE, (window,)), store)
    pusher.push(pl.concat([heavy, light]), np.arange(rows + 40))
    reader = FeatureReader(replace(features, events=(SOURCE_AT_ONCE,)), store)

    def fastest(user: int) -> float:
        columns, ts = {"user": np.array([user])}, np.array([T0 + 21 * H])
        return min(timeit.repeat(lambda: reader.read(columns, ts), number=1, repeat=300))

    assert reader.read({"user": np.array([1])}, np.array([T0 + 21 * H])).values["total"].tolist() == [rows / 2]
    assert fastest(1) < 3 * fastest(2)
