"""What a store gives of a table is what a join of its files gives: the oracle judges both."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_kit.features.online.materializing import MaterializeJob, materialize_features
from mlops_kit.features.online.publishing import KEPT_US
from mlops_kit.features.online.vectors import FeatureReader, Vectors
from tests.features.facts import TableCase, asked_tables
from tests.features.online.asking import plain
from tests.features.online.memory_store import MemoryStore
from tests.features.oracle import is_same, table_features


def read(case: TableCase, files: int, since_us: int) -> Vectors:
    """From a store that was filled for questions from then on."""
    rows = -(-max(len(case.rows), 1) // files)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            case.frame[number * rows : (number + 1) * rows].write_parquet(Path(folder) / f"{number}.parquet")
        features = replace(case.features, tables=(replace(case.table, path=folder),))
        store = MemoryStore()
        materialize_features(MaterializeJob(features, since_us + KEPT_US), store, lambda rows: None)
    names = [part.name for part in case.table.key]
    columns = {name: np.empty(len(case.questions), object) for name in names}
    for name, column in columns.items():
        column[:] = [question.row[name] for question in case.questions]
    return FeatureReader(features, store).read(columns, np.array([question.ts for question in case.questions]))


@settings(max_examples=100)
@given(asked_tables(), st.integers(1, 3), st.integers(-21, 21))
def test_every_look_up_is_what_the_oracle_says(case: TableCase, files: int, since_us: int) -> None:
    """Also of several rows that hold since the same time: the last one counts."""
    vectors = read(case, files, since_us)
    for row, question in enumerate(case.questions):
        if vectors.is_too_old[row]:
            assert question.ts < since_us
            continue
        expected = table_features(case.features, case.table, case.rows, question)
        found = {name: plain(values, row) for name, values in vectors.values.items()}
        assert all(is_same(found[name], value) for name, value in expected.items()), (found, expected)
