"""The same bits, or not."""

from typing import Any

import numpy as np
import pytest

from mlops_kit.bench.answers import compare_answers, differing_rows, read_records
from mlops_kit.schema import Output

F32 = np.array([1.5, -0.0, np.nan, np.inf], np.float32)


def changed(row: int, value: Any) -> "np.ndarray[Any, Any]":
    values = F32.copy()
    values[row] = value
    return values


@pytest.mark.parametrize(
    ("want", "got", "rows"),
    [
        (F32, F32.copy(), []),
        (F32, changed(0, np.nextafter(np.float32(1.5), np.float32(2))), [0]),
        (F32, changed(1, 0.0), [1]),
        (F32, changed(2, -np.nan), []),
        (F32, changed(2, 7.0), [2]),
        (F32, changed(3, np.nan), []),
        (F32, changed(0, np.nan), [0]),
        (F32, F32.astype(np.float64), [0, 1, 2, 3]),
        (F32, F32[:3], [0, 1, 2, 3]),
        (F32, None, [0, 1, 2, 3]),
        (np.array(["a", "b"], object), np.array(["a", "c"], object), [1]),
        (np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 5]]), [1]),
    ],
)
def test_rows_differ_where_a_bit_does(want: Any, got: Any, rows: list[int]) -> None:
    assert np.flatnonzero(differing_rows(want, got)).tolist() == rows


def test_the_first_mismatch_is_described() -> None:
    want = {"score": np.array([0.1, 0.2, 0.3]), "label": np.array([1, 2, 3])}
    wrong = want | {"score": np.array([0.1, 0.25, 0.35])}
    parity = compare_answers(want, {"batch": want, "online-rest": wrong})
    assert parity.mismatches == {"batch": 0, "online-rest": 2}
    assert parity.modes == ("batch", "online-rest")
    assert "row 1 of online-rest: score is" in parity.first
    assert "0.25" in parity.first
    assert "label" not in parity.first


def test_records_of_json_become_the_columns_that_the_model_gives() -> None:
    outputs = [
        Output("score", "float32", "s"),
        Output("label", "int64", "l"),
        Output("name", "string", "n"),
        Output("shares", "float32", "p", shape=(2,)),
    ]
    records = [
        {"score": 0.10000000149011612, "label": 3, "name": "a", "shares": [0.5, None], "other": 1},
        {"score": None, "label": 2**60 + 1, "name": "b", "shares": [1.0, 0.0], "other": 1},
    ]
    columns = read_records(records, outputs)
    assert columns["score"].tobytes() == np.array([0.1, np.nan], np.float32).tobytes()
    assert columns["label"].tolist() == [3, 2**60 + 1]
    assert columns["name"].tolist() == ["a", "b"]
    assert np.isnan(columns["shares"][0, 1])
    assert columns["shares"].shape == (2, 2)
