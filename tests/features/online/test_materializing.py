import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.errors import InputError, StoreError, UsageError
from mlops_kit.features.definition.feature_set import (
    EventSource,
    FeatureSet,
    Field,
    KeyField,
    TableFeature,
    TableSource,
    WindowFeature,
)
from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.materializing import Materialized, MaterializeJob, materialize_features
from mlops_kit.features.online.pushing import Pusher
from mlops_kit.features.online.records import GRACE_US, now_us
from mlops_kit.features.online.vectors import FeatureReader
from mlops_kit.stores.interface import Store
from tests.features.histories import Case, cases, events_frame
from tests.features.online.asking import assert_right, in_sequence
from tests.features.online.memory_store import MemoryStore

H = 3_600_000_000
T0 = 1_700_000_000_000_000
KEY = (KeyField("user", "user", "int64"),)
WINDOWS = (
    WindowFeature("n", "clicks", H, "count", "int64"),
    WindowFeature("total", "clicks", 24 * H, "sum", "float64", "x", hop_us=H),
)
LOOKUPS = (
    TableFeature("height", "people", "height", "float64", default=1.5),
    TableFeature("city", "people", "city", "string"),
    TableFeature("age", "people", "age", "int64"),
)
FIELDS = (Field("height", "float64"), Field("city", "string"), Field("age", "int64"))


def features_in(folder: Path) -> FeatureSet:
    source = EventSource("clicks", KEY, "at", (Field("x", "float64"),), str(folder / "clicks"), lateness_us=H)
    return FeatureSet((source,), (), WINDOWS, ())


def table_in(folder: Path, valid_from: str = "") -> FeatureSet:
    return FeatureSet(
        (), (TableSource("people", KEY, FIELDS, str(folder / "people.parquet"), valid_from),), (), LOOKUPS
    )


def events(rows: int, first: int = 0, users: int = 10) -> pl.DataFrame:
    rng = np.random.default_rng(first)
    at = T0 + (first + np.arange(rows)) * 60_000_000 + rng.integers(0, H // 4, rows)
    return pl.DataFrame({"user": rng.integers(0, users, rows), "at": at, "x": rng.normal(size=rows)})


def write_history(folder: Path, name: str, frame: pl.DataFrame, **options: int) -> None:
    (folder / "clicks").mkdir(exist_ok=True)
    frame.write_parquet(folder / "clicks" / name, **options)


def run(features: FeatureSet, store: Store, as_of_us: int = 0, **how: bool) -> Materialized:
    return materialize_features(MaterializeJob(features, as_of_us, **how), store, lambda rows: None)


def answers(features: FeatureSet, store: Store, at_us: int, users: int = 10) -> dict[str, list[object]]:
    columns = {"user": np.arange(users)}
    found = FeatureReader(features, store).read(columns, np.full(users, at_us))
    assert not found.is_too_old.any()
    return {name: values.tolist() for name, values in found.values.items()}


def pushed(features: FeatureSet, frame: pl.DataFrame) -> MemoryStore:
    """A store to which everything was pushed."""
    store = MemoryStore()
    source = features.events[0]
    Pusher(source, compile_layout(source, features.windows), store).push(frame, np.arange(len(frame)))
    return store


@given(cases(), st.sampled_from([0, 4, 100]), st.data())
@settings(max_examples=40)
def test_history_then_pushed_events_give_the_oracles_answers(
    case: Case, lateness_us: int, data: st.DataObject
) -> None:
    case, store = in_sequence(case, lateness_us), MemoryStore()
    cut = data.draw(st.integers(0, len(case.log)))
    as_of_us = data.draw(st.sampled_from([0, *(event.ts for event in case.log if event.ts and event.ts > 0)]))
    if not case.source.sequence:
        case = replace(case, log=[replace(event, seq=row) for row, event in enumerate(case.log)])
    with tempfile.TemporaryDirectory() as folder:
        source = replace(case.source, history=f"{folder}/*.parquet")
        case = replace(case, features=replace(case.features, events=(source,)))
        events_frame(source, case.log[:cut]).write_parquet(f"{folder}/0.parquet", row_group_size=4)
        run(case.features, store, as_of_us)
    layout = compile_layout(source, case.features.windows)
    rest = case.log[cut:]
    Pusher(source, layout, store).push(
        events_frame(source, rest), np.array([event.seq for event in rest], np.int64)
    )
    assert_right(case, store, as_of_us)


def test_history_of_several_files_fills_the_state_that_pushing_gives(store: Store, tmp_path: Path) -> None:
    features, everything = features_in(tmp_path), events(900)
    write_history(tmp_path, "a.parquet", everything[:300], row_group_size=70)
    write_history(tmp_path, "b.parquet", everything[300:])
    done = run(features, store).events[0]
    assert (done.rows, done.applied, done.last) == (900, 900, 899)
    at = T0 + 900 * 60_000_000
    assert answers(features, store, at) == answers(features, pushed(features, everything), at)


def test_a_second_run_applies_only_what_was_added(tmp_path: Path) -> None:
    features, store, everything = features_in(tmp_path), MemoryStore(), events(900)
    write_history(tmp_path, "a.parquet", everything[:300])
    run(features, store)
    assert run(features, store).events[0].rows == 0
    write_history(tmp_path, "b.parquet", everything[300:])
    assert run(features, store).events[0].rows == 600
    at = T0 + 900 * 60_000_000
    assert answers(features, store, at) == answers(features, pushed(features, everything), at)


@pytest.mark.parametrize("fails_after", [0, 1, 5, 11, 12, 13])
def test_a_run_that_failed_is_finished_by_the_next(tmp_path: Path, fails_after: int) -> None:
    features, store, everything = features_in(tmp_path), MemoryStore(), events(400)
    write_history(tmp_path, "a.parquet", everything)
    store.fails_after = fails_after
    with pytest.raises(StoreError):
        run(features, store)
    run(features, store)
    at = T0 + 400 * 60_000_000
    assert answers(features, store, at) == answers(features, pushed(features, everything), at)


def test_nothing_can_be_pushed_before_a_failed_run_is_finished(tmp_path: Path) -> None:
    features, store = features_in(tmp_path), MemoryStore()
    write_history(tmp_path, "a.parquet", events(400))
    store.fails_after = 5
    with pytest.raises(StoreError):
        run(features, store)
    source = features.events[0]
    with pytest.raises(StoreError, match="is being applied"):
        Pusher(source, compile_layout(source, features.windows), store)


def test_a_changed_history_is_refused_and_rebuild_takes_it(tmp_path: Path) -> None:
    features, store, everything = features_in(tmp_path), MemoryStore(), events(500)
    write_history(tmp_path, "a.parquet", everything[:300])
    run(features, store)
    write_history(tmp_path, "a.parquet", everything[100:])
    with pytest.raises(UsageError, match="another one than was applied") as raised:
        run(features, store)
    assert "--rebuild" in raised.value.fix
    run(features, store, is_anew=True)
    at = T0 + 500 * 60_000_000
    assert answers(features, store, at) == answers(features, pushed(features, everything[100:]), at)


def test_history_before_events_that_were_pushed_is_refused(tmp_path: Path) -> None:
    features, store, everything = features_in(tmp_path), MemoryStore(), events(500)
    source = features.events[0]
    pusher = Pusher(source, compile_layout(source, features.windows), store)
    pusher.push(everything[300:], np.arange(300, 500))
    write_history(tmp_path, "a.parquet", everything)
    with pytest.raises(UsageError, match="come after this part") as raised:
        run(features, store)
    assert "--rebuild" in raised.value.fix


def test_history_of_events_that_were_pushed_changes_nothing(tmp_path: Path) -> None:
    features, store, everything = features_in(tmp_path), MemoryStore(), events(500)
    write_history(tmp_path, "a.parquet", everything[:200])
    run(features, store)
    source = features.events[0]
    pusher = Pusher(source, compile_layout(source, features.windows), store)
    pusher.push(everything[200:450], np.arange(200, 450))
    write_history(tmp_path, "b.parquet", everything[200:])
    done = run(features, store).events[0]
    assert (done.repeated, done.applied) == (250, 50)
    at = T0 + 500 * 60_000_000
    assert answers(features, store, at) == answers(features, pushed(features, everything), at)


def test_a_pusher_is_told_that_the_state_was_built_anew(tmp_path: Path) -> None:
    features, store, everything = features_in(tmp_path), MemoryStore(), events(500)
    write_history(tmp_path, "a.parquet", everything[:200])
    run(features, store)
    source = features.events[0]
    pusher = Pusher(source, compile_layout(source, features.windows), store)
    pusher.push(everything[200:300], np.arange(200, 300))
    done = run(features, store, is_anew=True).events[0]
    assert (done.last, done.lost_to) == (199, 299)
    with pytest.raises(StoreError, match="built anew") as raised:
        pusher.push(everything[300:], np.arange(300, 500))
    assert "from number 200" in raised.value.fix
    pusher = Pusher(source, compile_layout(source, features.windows), store)
    pusher.push(everything[200:], np.arange(200, 500))
    at = T0 + 500 * 60_000_000
    assert answers(features, store, at) == answers(features, pushed(features, everything), at)


def test_as_of_a_time_history_ends_before_the_first_event_that_is_not_before_it(tmp_path: Path) -> None:
    features, store, everything = features_in(tmp_path), MemoryStore(), events(500)
    write_history(tmp_path, "a.parquet", everything)
    at = T0 + 300 * 60_000_000
    end = int((everything["at"] >= at).arg_max() or 0)
    assert run(features, store, at, is_end=True).events[0].last == end - 1
    assert answers(features, store, at) == answers(features, pushed(features, everything[:end]), at)
    rest = run(features, store, at).events[0]
    assert (rest.rows, rest.applied, rest.repeated) == (500 - end, 500 - end, 0)


def test_what_is_too_old_to_matter_is_left_out_and_older_questions_are_refused(tmp_path: Path) -> None:
    features, store, everything = features_in(tmp_path), MemoryStore(), events(3000)
    write_history(tmp_path, "a.parquet", everything, row_group_size=500)
    at = T0 + 3000 * 60_000_000
    done = run(features, store, at).events[0]
    assert 0 < done.left_out < 3000
    assert answers(features, store, at) == answers(features, pushed(features, everything), at)
    older = FeatureReader(features, store).read({"user": np.array([99])}, np.array([at - 2 * H]))
    assert older.is_too_old.all()
    with pytest.raises(InputError, match="cannot answer as of that time"):
        older.refuse_too_old()


def write_people(folder: Path, **columns: list[object]) -> None:
    pl.DataFrame(columns).write_parquet(folder / "people.parquet")


def test_a_tables_rows_are_read_back_with_defaults_where_a_value_or_a_row_is_missing(
    store: Store, tmp_path: Path
) -> None:
    features = table_in(tmp_path)
    write_people(
        tmp_path,
        user=[0, 1, None, 2],
        height=[1.8, None, 9.0, -0.0],
        city=["Lund", None, "x", "Ærø"],
        age=[2**53 + 1, None, 1, -3],
    )
    assert run(features, store).tables[0].refused == {"the key 'user' is null": 1}
    found = answers(features, store, T0, users=4)
    assert found == {
        "height": [1.8, 1.5, 0.0, 1.5],
        "city": ["Lund", None, "Ærø", None],
        "age": [2**53 + 1, None, -3, None],
    }
    assert str(found["height"][2]) == "0.0"


def test_the_version_of_a_row_that_holds_is_read_also_after_the_table_was_written(tmp_path: Path) -> None:
    features, store = table_in(tmp_path, "since"), MemoryStore()
    write_people(
        tmp_path,
        user=[0, 0, 0, 0, 1],
        since=[T0 - 9 * H, T0 - 8 * H, T0 + H, T0 + H, T0 + 2 * H],
        height=[1.0, 2.0, 3.0, 4.0, 5.0],
        city=["a", "b", "c", "d", "e"],
        age=[1, 2, 3, 4, 5],
    )
    run(features, store, T0)
    reader = FeatureReader(features, store)
    times = np.array([T0 - 9 * H + 1, T0, T0 + H - 1, T0 + H, T0])
    found = reader.read({"user": np.array([0, 0, 0, 0, 1])}, times)
    assert found.values["city"].tolist()[1:] == ["b", "b", "d", None]
    assert found.is_too_old.tolist() == [True, False, False, False, False]
    assert found.is_missing["people"].tolist()[1:] == [False, False, False, True]
    assert found.age_us["people"].tolist()[1:4] == [8 * H, 9 * H - 1, 0]


def test_a_table_without_time_has_one_row_for_each_key(tmp_path: Path) -> None:
    write_people(tmp_path, user=[0, 0], height=[1.0, 2.0], city=["a", "b"], age=[1, 2])
    with pytest.raises(InputError, match="whose key another row has"):
        run(table_in(tmp_path), MemoryStore())


def test_a_table_that_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    write_people(tmp_path, user=[0], height=[1.0], city=["a"], age=[1])
    features, store = table_in(tmp_path), MemoryStore()
    assert run(features, store).tables[0].is_new
    assert not run(features, store).tables[0].is_new


def test_readers_go_over_to_a_new_generation_and_old_ones_are_dropped_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, store, clock = table_in(tmp_path), MemoryStore(), [0.0]
    reader = FeatureReader(features, store, lambda: clock[0])
    seen = []
    for height in (1.0, 2.0, 3.0):
        write_people(tmp_path, user=[0], height=[height], city=["a"], age=[int(height)])
        run(features, store)
        for later in (0.1, 1.1):
            clock[0] += later
            seen.append(reader.read({"user": np.array([0])}, np.array([T0])).values["height"].tolist())
    assert seen == [[1.0], [1.0], [1.0], [2.0], [2.0], [3.0]]
    assert len(store.spaces("table/")) == 3
    later_us = now_us() + GRACE_US + 1
    monkeypatch.setattr("mlops_kit.features.online.records.now_us", lambda: later_us)
    write_people(tmp_path, user=[0], height=[4.0], city=["a"], age=[9])
    run(features, store)
    assert len(store.spaces("table/")) == 2


def test_a_store_without_the_table_is_an_error_until_it_has_it(tmp_path: Path) -> None:
    features, store = table_in(tmp_path), MemoryStore()
    reader = FeatureReader(features, store)
    with pytest.raises(StoreError, match="lacks a table"):
        reader.read({"user": np.array([0])}, np.array([T0]))
    write_people(tmp_path, user=[0], height=[1.0], city=["a"], age=[1])
    run(features, store)
    assert reader.read({"user": np.array([0])}, np.array([T0])).values["city"].tolist() == ["a"]


def test_a_batch_of_rows_is_one_round_trip(tmp_path: Path) -> None:
    write_people(tmp_path, user=[*range(20)], height=[1.0] * 20, city=["a"] * 20, age=[1] * 20)
    write_history(tmp_path, "a.parquet", events(50))
    clicks, people = features_in(tmp_path), table_in(tmp_path)
    features, store = FeatureSet(clicks.events, people.tables, WINDOWS, LOOKUPS), MemoryStore()
    run(features, store)
    reader = FeatureReader(features, store, lambda: 0.0)
    answers_of = reader.read({"user": np.arange(20)}, np.full(20, T0))
    before = store.reads
    reader.read({"user": np.arange(20)}, np.full(20, T0))
    assert (store.reads - before, len(answers_of.ts)) == (1, 20)
