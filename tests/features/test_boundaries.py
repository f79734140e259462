"""Which microseconds a window has, counted one by one: every question against every event."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mlops_kit.features import join
from mlops_kit.features.definition.feature_set import EventSource, FeatureSet, KeyField, WindowFeature
from mlops_kit.features.layout import compile_layout
from mlops_kit.features.online.pushing import Pusher
from mlops_kit.features.online.vectors import FeatureReader
from tests.features.online.memory_store import MemoryStore

WINDOW_US, FIRST, LAST = 10, 1_700_000_000_000_000, 1_700_000_000_000_040
SOURCE = EventSource("clicks", (KeyField("user", "user", "int64"),), "at", (), lateness_us=100)


@pytest.mark.parametrize("hop_us", [0, 1, 4, 10])
def test_a_window_begins_at_its_lower_bound_and_ends_before_the_time_asked_for(
    hop_us: int, tmp_path: Path
) -> None:
    window = WindowFeature("n", "clicks", WINDOW_US, "count", "int64", hop_us=hop_us)
    events = pl.DataFrame({"user": 1, "at": np.arange(FIRST, LAST + 1)})
    events.write_parquet(tmp_path / "history.parquet")
    features = FeatureSet((replace(SOURCE, history=str(tmp_path)),), (), (window,), ())
    asked = np.arange(FIRST - 1, LAST + 2)
    floor = max(hop_us, 1)
    begins = (asked - WINDOW_US) // floor * floor
    expected = [sum(begin <= at < ts for at in events["at"]) for begin, ts in zip(begins, asked, strict=True)]
    found = join(features, pl.DataFrame({"user": 1, "t": asked}), time="t")
    assert found["n"].to_list() == expected
    store = MemoryStore()
    Pusher(SOURCE, compile_layout(SOURCE, (window,)), store).push(events, np.arange(len(events)))
    users = np.ones(len(asked), np.int64)
    assert FeatureReader(features, store).read({"user": users}, asked).values["n"].tolist() == expected
