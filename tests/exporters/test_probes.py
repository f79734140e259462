from typing import Any

import numpy as np
import pytest

from mlops_kit.exporters.probes import UNSEEN, ask, choose_sample_rows, make_probes
from mlops_kit.schema import Column, Columns

NUMBER = Column("n", "float64", nullable=True)
SAMPLE = {"n": np.array([1.0, 3.0]), "s": np.array(["a", "b"], object), "i": np.array([1, 2], np.int8)}

MADE = [
    (NUMBER, [("zero", 0.0), ("below", -1.0), ("above", 5.0), ("missing", np.nan)]),
    (Column("n", "float64"), [("zero", 0.0), ("below", -1.0), ("above", 5.0)]),
    (Column("s", "string", nullable=True), [("unseen", UNSEEN), ("missing", None)]),
    (Column("i", "int8"), [("zero", 0), ("below", 0), ("above", 3)]),
    (Column("b", "bool"), []),
]


@pytest.mark.parametrize(("column", "expected"), MADE)
def test_rows_are_made_up_by_the_columns_dtype(column: Column, expected: list[tuple[str, Any]]) -> None:
    sample = {**SAMPLE, "b": np.array([True, False])}
    probes = make_probes((column,), sample)
    made = [(probe.kind, value) for probe, value in zip(probes.probes, probes.rows[column.name], strict=True)]
    assert repr(made) == repr(
        [(kind, np.array([value], probes.rows[column.name].dtype)[0]) for kind, value in expected]
    )


def test_only_the_probed_column_differs_from_the_first_row() -> None:
    probes = make_probes((NUMBER, Column("s", "string")), SAMPLE)
    for index, probe in enumerate(probes.probes):
        changed = {name for name, values in probes.rows.items() if values[index] != SAMPLE[name][0]}
        assert changed == {probe.column}


def wide(columns: int) -> tuple[tuple[Column, ...], Columns]:
    described = tuple(Column(f"c{i}", "float64", nullable=True) for i in range(columns))
    return described, {column.name: np.array([1.0, 2.0]) for column in described}


class Refusing:
    """Refuses missing values in some columns, and counts how often it is asked."""

    def __init__(self, *columns: str) -> None:
        self.columns, self.calls = columns, 0

    def __call__(self, rows: Columns) -> Columns:
        self.calls += 1
        for name in self.columns or rows:
            if np.isnan(rows[name]).any():
                raise ValueError(name)
        return {"prediction": sum(rows.values(), np.zeros(len(rows["c0"])))}


def test_one_culprit_among_many_is_found_by_halving() -> None:
    described, sample = wide(50)
    reference = Refusing("c17")
    asked = ask(reference, make_probes(described, sample))
    assert [(probe.column, probe.kind) for probe in asked.refused.probes] == [("c17", "missing")]
    assert len(asked.accepted.probes) == 50 * 4 - 1
    np.testing.assert_array_equal(
        asked.answers["prediction"], Refusing("c17")(asked.accepted.rows)["prediction"], strict=True
    )
    assert reference.calls < 20


def test_a_wide_model_that_refuses_missing_values_is_not_asked_about_each() -> None:
    described, sample = wide(500)
    reference = Refusing()
    asked = ask(reference, make_probes(described, sample))
    assert len(asked.refused.probes) == 500
    assert len(asked.accepted.probes) == 1500
    assert reference.calls < 40


def test_a_small_sample_is_taken_whole() -> None:
    assert choose_sample_rows({"n": np.arange(7.0)}).tolist() == list(range(7))
