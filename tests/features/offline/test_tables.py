"""Table features are those of the newest row that holds at the time of the row that asks."""

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

from mlops_kit.errors import InputError
from mlops_kit.features import Table, join
from tests.features.facts import TableCase, asked_tables
from tests.features.histories import spine_frame
from tests.features.oracle import is_same, table_features


def answers(case: TableCase) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        case.frame.write_parquet(Path(folder) / "facts.parquet", row_group_size=5)
        features = replace(case.features, tables=(replace(case.table, path=folder),))
        found = join(features, spine_frame(case.table.key, case.questions), time="t")
    return list(found.select(feature.name for feature in features.lookups).iter_rows(named=True))


@settings(max_examples=100)
@given(asked_tables())
def test_every_look_up_is_what_the_oracle_says(case: TableCase) -> None:
    for question, answer in zip(case.questions, answers(case), strict=True):
        expected = table_features(case.features, case.table, case.rows, question)
        assert all(is_same(answer[name], value) for name, value in expected.items()), (answer, expected)


def test_a_key_with_two_rows_in_a_table_without_time_is_an_error(tmp_path: Path) -> None:
    pl.DataFrame({"origin": ["JFK", "LGA", "LGA"], "runways": [4, 2, 2]}).write_parquet(tmp_path / "a.parquet")
    airports = Table("airports", key="origin", path=tmp_path / "a.parquet")
    with pytest.raises(InputError, match="has 2 rows with origin = 'LGA'"):
        join([airports.select("runways")], pl.DataFrame({"origin": ["LGA"]}))


def test_without_windows_and_valid_from_no_time_is_needed(tmp_path: Path) -> None:
    pl.DataFrame({"origin": ["JFK"], "runways": [4]}).write_parquet(tmp_path / "a.parquet")
    airports = Table("airports", key="origin", path=tmp_path / "a.parquet")
    found = join([airports.select("runways")], pl.DataFrame({"origin": ["LGA", "JFK", None]}))
    assert found["runways"].to_list() == [None, 4, None]
