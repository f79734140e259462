from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops_kit_cli.main import app

from mlops_kit.errors import InputError
from mlops_kit.features.definition.feature_set import EventSource, FeatureSet, Field, KeyField, WindowFeature
from mlops_kit.features.layout import compile_layout
from mlops_kit.features.offline.work import JoinReport
from mlops_kit.features.online.pushing import Pusher
from mlops_kit.features.online.vectors import FeatureReader
from mlops_kit.features.parity.check import check_parity, read_log
from mlops_kit.features.parity.heavy_keys import warn_of_heavy_keys
from mlops_kit.features.parity.log import UsedVectors, VectorLog
from mlops_kit.schema import Array
from tests.features.histories import Case, cases, events_frame
from tests.features.online.asking import columns_of, in_sequence
from tests.features.online.memory_store import MemoryStore

H = 3_600_000_000
T0 = 1_700_000_000_000_000
DEFINITION = """
from mlops_kit.features import Events, count, mean, last
clicks = Events("clicks", key="user", time="at", history=r"{folder}/clicks.parquet")
features = [clicks.window("1h").agg(n=count(), x_mean=mean("x"), word=last("word", default="none"))]
"""


@given(cases(has_sequence=False), st.data())
@settings(max_examples=25)
def test_vectors_served_between_events_are_those_that_history_gives(
    tmp_path_factory: pytest.TempPathFactory, case: Case, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("history")
    case = in_sequence(case, 100)
    source = EventSource(
        **{name: getattr(case.source, name) for name in EventSource.__slots__} | {"history": f"{folder}/h.parquet"}
    )
    features, store = FeatureSet((source,), (), case.features.windows, ()), MemoryStore()
    pusher = Pusher(source, compile_layout(source, features.windows), store)
    requests = []
    for row, event in enumerate(case.log):
        pusher.push(events_frame(source, [event]), np.array([row]))
        if data.draw(st.booleans()):
            requests.append(
                serve(features, store, columns_of(case, case.questions), np.array([q.ts for q in case.questions]))
            )
    events_frame(source, case.log).write_parquet(folder / "h.parquet")
    if requests:
        found, first = check_parity(features, VectorLog(features).frame(requests), JoinReport())
        assert first is None
        assert {feature.compared for feature in found} == {len(requests) * len(case.questions)}


def serve(features: FeatureSet, store: MemoryStore, columns: Mapping[str, Array], ts: Array) -> UsedVectors:
    vectors = FeatureReader(features, store).read(columns, ts)
    assert not vectors.is_too_old.any()
    return UsedVectors(ts, columns, vectors.values, vectors.applied)


def clicks(rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "user": rng.integers(0, 3, rows),
            "at": T0 + np.arange(rows) * 60_000_000,
            "x": rng.normal(size=rows),
            "word": rng.choice(["a", "b"], rows).tolist(),
        }
    )


FEATURES = FeatureSet(
    (
        EventSource(
            "clicks", (KeyField("user", "user", "int64"),), "at", (Field("x", "float64"),), "clicks.parquet"
        ),
    ),
    (),
    (
        WindowFeature("n", "clicks", H, "count", "int64"),
        WindowFeature("x_mean", "clicks", H, "mean", "float64", "x"),
        WindowFeature("none", "clicks", H, "mean", "float64", "x", hop_us=H, default=None),
    ),
    (),
)


@pytest.fixture
def request_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UsedVectors:
    """What a server logs of a request of three rows, after all events."""
    monkeypatch.chdir(tmp_path)
    clicks(50).write_parquet("clicks.parquet")
    source, store = FEATURES.events[0], MemoryStore()
    Pusher(source, compile_layout(source, FEATURES.windows), store).push(clicks(50), np.arange(50))
    return serve(FEATURES, store, {"user": np.array([0, 1, 7])}, np.full(3, T0 + 50 * 60_000_000))


def changed(request: UsedVectors, **how: object) -> UsedVectors:
    values = {name: array.astype(float) for name, array in request.values.items()}
    values["x_mean"] = np.array([np.nextafter(values["x_mean"][0], 9), np.nan, 5.0])
    fields = {name: getattr(request, name) for name in UsedVectors.__slots__}
    return UsedVectors(**fields | {"values": values} | how)


def test_mismatch_missing_and_extra_are_counted_and_the_first_row_is_shown(request_of: UsedVectors) -> None:
    found, first = check_parity(FEATURES, VectorLog(FEATURES).frame([changed(request_of)]), JoinReport())
    counts = {one.name: (one.compared, one.mismatch, one.missing, one.extra) for one in found}
    assert counts == {"n": (3, 0, 0, 0), "x_mean": (3, 1, 1, 1), "none": (3, 0, 0, 0)}
    assert first is not None
    assert first["asked"] == {"user": 0}
    assert first["recomputed"]["x_mean"] == request_of.values["x_mean"][0] != first["vector"]["x_mean"]


@pytest.mark.parametrize("how", [{"overridden": ["x_mean"]}, {"degraded": ["clicks"]}])
def test_overridden_and_degraded_values_are_not_compared(
    request_of: UsedVectors, how: dict[str, list[str]]
) -> None:
    found, first = check_parity(FEATURES, VectorLog(FEATURES).frame([changed(request_of, **how)]), JoinReport())
    assert first is None
    assert [one.compared for one in found] == ([3, 0, 3] if "overridden" in how else [0, 0, 0])


def test_events_that_arrived_after_the_prediction_are_not_seen(request_of: UsedVectors) -> None:
    poisoned = pl.DataFrame({"user": [0], "at": [T0 + 49 * 60_000_000], "x": [1e300], "word": ["!"]})
    pl.concat([clicks(50), poisoned]).write_parquet("clicks.parquet")
    _, first = check_parity(FEATURES, VectorLog(FEATURES).frame([request_of]), JoinReport())
    assert first is None


def test_rows_of_other_definitions_are_counted_and_left_out(request_of: UsedVectors, tmp_path: Path) -> None:
    other = FeatureSet(FEATURES.events, (), FEATURES.windows[:2], ())
    folder = tmp_path / "log" / "model=eta" / "day=2026-01-01"
    folder.mkdir(parents=True)
    VectorLog(FEATURES).frame([request_of, request_of]).write_parquet(folder / "a.parquet")
    VectorLog(other).frame([request_of]).write_parquet(folder / "b.parquet")
    pl.DataFrame({"id": ["no vectors here"]}).write_parquet(folder / "c.parquet")
    log, others = read_log(tmp_path / "log", FEATURES)
    assert (len(log), others) == (6, 3)


def test_a_folder_without_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no log"):
        read_log(tmp_path, FEATURES)
    pl.DataFrame({"id": ["x"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no vector is logged"):
        read_log(tmp_path, FEATURES)


def test_windows_without_a_hop_over_very_many_events_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"user": [1] * 150_000, "at": range(T0, T0 + 150_000), "x": 0.5}).write_parquet("clicks.parquet")
    assert [text.split(" in its ")[0] for text in warn_of_heavy_keys(FEATURES)] == [
        "'n' looks at about 150,000 events of one key of 'clicks'"
    ]
    clicks(50).write_parquet("clicks.parquet")
    assert warn_of_heavy_keys(FEATURES) == ()


@pytest.mark.parametrize("is_right", [True, False])
def test_check_exits_with_1_if_a_value_differs(
    is_right: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], log_of: Callable[[Path, bool], list[str]]
) -> None:
    words = log_of(tmp_path, is_right)
    assert (app(words, standalone_mode=False) or 0) == (0 if is_right else 1)
    out = capsys.readouterr().out
    assert out.startswith(f"4 vectors, 12 values compared, {0 if is_right else 1} features differ\n")
    assert ("word: 4 mismatch, 0 missing, 0 extra" in out) is not is_right


def test_check_says_which_window_needs_a_hop(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    log_of: Callable[[Path, bool], list[str]],
) -> None:
    monkeypatch.setattr("mlops_kit.features.parity.heavy_keys.MANY", 2)
    app(log_of(tmp_path, True), standalone_mode=False)
    assert "of one key of 'clicks'" in (said := capsys.readouterr().err)
    assert "give the window a hop" in said


@pytest.fixture
def log_of() -> Callable[[Path, bool], list[str]]:
    """Writes a log, right or wrong, and gives the words of the command that checks it."""

    def write(folder: Path, is_right: bool) -> list[str]:
        from mlops_kit.features.definition.loading import load_definition

        clicks(50).write_parquet(folder / "clicks.parquet")
        (folder / "features.py").write_text(DEFINITION.replace("{folder}", str(folder)))
        features, store = load_definition(folder / "features.py"), MemoryStore()
        source = features.events[0]
        Pusher(source, compile_layout(source, features.windows), store).push(clicks(50), np.arange(50))
        used = serve(features, store, {"user": np.arange(4)}, np.full(4, T0 + 50 * 60_000_000))
        if not is_right:
            used.values["word"][:] = "wrong"
        (folder / "log").mkdir()
        VectorLog(features).frame([used]).write_parquet(folder / "log" / "a.parquet")
        return ["features", "check", str(folder / "features.py"), "--log", str(folder / "log")]

    return write
