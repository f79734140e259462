"""A checkpoint in the store that cannot be read: what still has answers, and when all has them again."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mlops_kit.errors import StoreError
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
from mlops_kit.features.online.materializing import MaterializeJob, materialize_features
from mlops_kit.features.online.pushing import Pusher
from mlops_kit.features.online.vectors import FeatureReader
from mlops_kit.stores.interface import Write
from tests.features.online.memory_store import MemoryStore

T0 = 1_700_000_000_000_000
KEY = (KeyField("user", "user", "int64"),)
WINDOW = WindowFeature("total", "clicks", 100, "sum", "float64", "x", default=-1.0)
SOURCES = ["clicks", "people"]
VALUES = {"total": [2.0], "height": [1.5]}
DEFAULTS = {"total": [-1.0], "height": [-2.0]}


def features_in(folder: Path) -> FeatureSet:
    clicks = EventSource("clicks", KEY, "at", (Field("x", "float64"),))
    people = TableSource("people", KEY, (Field("height", "float64"),), str(folder / "people.parquet"))
    height = TableFeature("height", "people", "height", "float64", default=-2.0)
    return FeatureSet((clicks,), (people,), (WINDOW,), (height,))


def filled(features: FeatureSet) -> MemoryStore:
    store, clicks, people = MemoryStore(), features.events[0], features.tables[0]
    pl.DataFrame({"user": [1], "height": [1.5]}).write_parquet(people.path)
    tables = FeatureSet((), features.tables, (), features.lookups)
    materialize_features(MaterializeJob(tables, 0), store, lambda rows: None)
    events = pl.DataFrame({"user": [1], "at": [T0], "x": [2.0]})
    Pusher(clicks, compile_layout(clicks, (WINDOW,)), store).push(events, np.array([0]))
    return store


@pytest.mark.parametrize("damaged", SOURCES)
@pytest.mark.parametrize("is_damaged_first", [True, False])
def test_a_damaged_checkpoint_is_a_matter_of_its_source_alone_until_it_is_mended(
    damaged: str, is_damaged_first: bool, tmp_path: Path
) -> None:
    features, clock = features_in(tmp_path), [10.0]
    store, asked, ts = filled(features), {"user": np.array([1])}, np.array([T0 + 1])
    reader = FeatureReader(features, store, lambda: clock[0], serves_absent=True)
    if not is_damaged_first:
        reader.read(asked, ts)
    space, key = next(address for address in store.values if f"/{damaged}/".encode() in address[1])
    whole = store.values[space, key].data
    store.write(space, [Write(key, b"damaged")])
    clock[0] += 2
    keys = reader.encode(asked)
    found = reader.fetch(keys)
    assert [*reader.unusable(keys, found, ts)] == [damaged]
    with pytest.raises(StoreError, match="a checkpoint of features in the store is damaged"):
        reader.make(keys, found, asked, ts)
    values = reader.make(keys, found, asked, ts, without=[damaged]).values
    feature = dict(zip(SOURCES, VALUES, strict=True))[damaged]
    assert {name: column.tolist() for name, column in values.items()} == VALUES | {feature: DEFAULTS[feature]}
    store.write(space, [Write(key, whole)])
    clock[0] += 2
    assert {name: column.tolist() for name, column in reader.read(asked, ts).values.items()} == VALUES


def test_a_damaged_checkpoint_is_said_to_who_serves_no_defaults(tmp_path: Path) -> None:
    features = features_in(tmp_path)
    store = filled(features)
    for space, key in [address for address in store.values if address[0] in ("checkpoint", "current")]:
        store.write(space, [Write(key, b"damaged")])
    with pytest.raises(StoreError, match="a checkpoint of features in the store is damaged"):
        FeatureReader(features, store).read({"user": np.array([1])}, np.array([T0 + 1]))
