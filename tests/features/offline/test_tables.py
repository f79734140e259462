"""Table features are those of the newest row that holds at the time of the row that asks."""

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.errors import InputError
from mlops_kit.features import Table, join
from mlops_kit.features.definition.expressions.columns import DTYPES
from mlops_kit.features.definition.feature_set import FeatureSet, Field, TableFeature, TableSource
from tests.features.histories import DEFAULTS, FIELDS, entities, keys, rows_of, spine_frame
from tests.features.oracle import Question, Row, is_same, table_features


@st.composite
def asked_tables(draw: st.DrawFn) -> tuple[FeatureSet, list[Row], list[Question]]:
    """A table with or without time, its rows, and who asks. Without time, no key has two rows."""
    key, has_time, times = draw(keys()), draw(st.booleans()), st.integers(-20, 20)
    known = draw(entities(key))
    fields = tuple(Field(name, kind) for name, kind in FIELDS.items())
    lookups = tuple(
        TableFeature(f"feature_{name}", "facts", name, kind, draw(st.sampled_from(DEFAULTS[kind])))
        for name, kind in FIELDS.items()
    )
    written = draw(st.lists(rows_of([part.column for part in key], known), max_size=12))
    rows = [{**row, "since": draw(times | st.none())} for row in written]
    if not has_time:
        rows = list({tuple(row[part.column] for part in key): row for row in rows}.values())
    asking = draw(st.lists(rows_of([part.name for part in key], known), min_size=1, max_size=6))
    asked = [Question(row, draw(times)) for row in asking]
    source = TableSource("facts", key, fields, "", valid_from="since" if has_time else "")
    return FeatureSet((), (source,), (), lookups), rows, asked


def answers(features: FeatureSet, rows: list[Row], questions: list[Question]) -> list[dict[str, Any]]:
    (table,) = features.tables
    schema = {part.column: DTYPES[part.kind] for part in table.key} | {n: DTYPES[k] for n, k in FIELDS.items()}
    frame = pl.DataFrame(rows, schema={**schema, "since": pl.Int64()}, orient="row")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        frame.write_parquet(Path(folder) / "facts.parquet", row_group_size=5)
        features = replace(features, tables=(replace(table, path=folder),))
        found = join(features, spine_frame(table.key, questions), time="t")
    return list(found.select(feature.name for feature in features.lookups).iter_rows(named=True))


@settings(max_examples=100)
@given(asked_tables())
def test_every_look_up_is_what_the_oracle_says(case: tuple[FeatureSet, list[Row], list[Question]]) -> None:
    features, rows, questions = case
    for question, answer in zip(questions, answers(*case), strict=True):
        expected = table_features(features, features.tables[0], rows, question)
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
