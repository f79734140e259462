"""The definition of features that the README shows works as it stands."""

import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from mlops_kit.features import load_definition
from mlops_kit.features.definition import feature_set
from mlops_kit.features.definition.aggregations import Aggregate
from mlops_kit.features.definition.frozen import freeze, read_frozen
from tests.docs.test_readme import README

NOW = datetime(2013, 1, 1, tzinfo=UTC)


def section() -> str:
    return README.read_text().partition("\n## Features\n")[2].partition("\n## ")[0]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/departures").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    frames = {
        "departures/2013": {"origin": ["JFK"], "departed_at": [NOW], "dep_delay": [20.0], "carrier": ["B6"]},
        "airports": {"faa": ["JFK"], "runways": [4], "elevation": [13]},
        "weather": {"origin": ["JFK"], "hour": [NOW], "temp": [39.0]},
    }
    for name, columns in frames.items():
        pl.DataFrame(columns).write_parquet(f"data/{name}.parquet")


def test_the_example_is_a_definition(data: None, tmp_path: Path) -> None:
    found = re.search(r"```python\n(# features\.py\n.*?)```", section(), re.DOTALL)
    assert found is not None
    (tmp_path / "features.py").write_text(found[1])
    features = load_definition("features.py")
    assert [feature.name for feature in features.features] == [
        *("delay_mean_1h", "departures_1h", "late_std_30d", "payments_10m", "payments_1d", "quiet_s"),
        *("amounts_1", "amounts_2", "amounts_3", "runways", "altitude", "temp"),
    ]
    assert read_frozen(freeze(features)) == features


def test_the_section_names_every_aggregation() -> None:
    known = Aggregate.__annotations__["aggregation"]
    assert known is feature_set.Aggregation
    for name in known.__args__:
        assert f"`{name}`" in section()
