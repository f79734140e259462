from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.errors import InputError
from mlops_kit.modes.batch.sources import text
from mlops_kit.modes.batch.sources.ndjson import NdjsonSource
from mlops_kit.schema import Column, Signature
from tests.modes.batch.reading import (
    COLUMNS,
    SIGNATURE,
    assert_same,
    expected_tensors,
    read_all,
    signature_of,
    tensors_of,
)

LISTS = signature_of(*COLUMNS, Column("v", "float32", (2,), nullable=True), Column("t", "int32", (1, 2)))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5).map(float)
NUMBER = st.none() | FLOAT | st.integers(-(2**63), 2**64 - 1)
SMALL = st.integers(-(2**31), 2**31 - 1)
ROW = st.fixed_dictionaries(
    {
        "s": st.none() | TEXT,
        "x": NUMBER,
        "i": WHOLE,
        "b": st.booleans() | st.sampled_from([0, 1, 0.0, 1.0]),
        "v": st.lists(st.none() | FLOAT | st.integers(-5, 5), min_size=2, max_size=2),
        "t": st.lists(st.lists(SMALL, min_size=2, max_size=2), min_size=1, max_size=1),
    },
    optional={"id": TEXT},
)


def source_of(
    folder: Path, data: bytes, signature: Signature = SIGNATURE, unit_bytes: int = text.UNIT_BYTES
) -> NdjsonSource:
    path = folder / "rows.ndjson"
    path.write_bytes(data)
    return NdjsonSource(folder, [path], signature, unit_bytes=unit_bytes)


@given(
    st.lists(ROW, min_size=1),
    st.sampled_from([b"\n", b"\r\n", b"\n \n\n", b"\r"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.booleans(),
)
def test_rows_are_what_predict_reads(
    rows: list[dict[str, Any]], line_end: bytes, unit_bytes: int, block_bytes: int, has_mark: bool
) -> None:
    data = b"\xef\xbb\xbf" * has_mark + line_end.join(map(orjson.dumps, rows)) + line_end[:unit_bytes]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK_BYTES", block_bytes)
        reading = read_all(source_of(Path(folder), data, LISTS, unit_bytes), rows=3)
    assert not reading.bad
    if any("id" in row for row in rows):
        assert reading.table["id"].to_pylist() == [row.get("id") for row in rows]
    assert_same(tensors_of(reading.table, LISTS), expected_tensors(data, "ndjson", LISTS))


def line(**changes: Any) -> bytes:
    return orjson.dumps({"s": "a", "x": 1.5, "i": 3, "b": True} | changes)


DAMAGES = [
    (b'{"s": ', "not valid JSON: "),
    (b"[1, 2]", "no JSON object"),
    (b"12", "no JSON object"),
    (b'{"s": "\xff", "x": 1, "i": 3, "b": true}', "bytes that are not UTF-8"),
    (b'{"s": "a", "xx": 1, "i": 3, "b": true}', "there is no 'x'; did you mean 'xx' for 'x'?"),
    (b'{"x": 1, "i": 3, "b": true}', "there is no 's'"),
    (line(x="1.5"), "text where the model takes a number"),
    (line(x=[1.5]), "a list where the model takes a number"),
    (line(s=1), "a number where the model takes text"),
    (line(s={"a": 1}), "an object where the model takes text"),
    (line(i=1.5), "a number that is not whole where the model takes a whole number"),
    (line(i=2**63), "a number out of range where the model takes a whole number"),
    (line(x=True), "true or false where the model takes a number"),
    (line(i=False), "true or false where the model takes a whole number"),
    (line(b="true"), "text where the model takes true or false"),
    (line(b=2), "a number other than 0 and 1 where the model takes true or false"),
]
GOOD = [line(), line(s=None, x=None, more=[1]), line(x=7, i=3.0, b=0)]


@given(
    st.lists(st.sampled_from(GOOD) | st.sampled_from(DAMAGES), min_size=1), st.integers(1, 200), st.integers(1, 99)
)
def test_exactly_the_damaged_rows_are_bad(
    lines: list[bytes | tuple[bytes, str]], unit_bytes: int, block_bytes: int
) -> None:
    records = [row if isinstance(row, bytes) else row[0] for row in lines]
    reasons = {number: row[1] for number, row in enumerate(lines) if not isinstance(row, bytes)}
    good = [row for row in lines if isinstance(row, bytes)]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK_BYTES", block_bytes)
        source = source_of(Path(folder), b"\n".join(records), unit_bytes=unit_bytes)
        reading = read_all(source, ["s", "x", "i", "b"], rows=2)
    assert reading.bad.keys() == reasons.keys()
    for number, row in reading.bad.items():
        assert row.reason.startswith(reasons[number])
        assert row.record == records[number].decode(errors="backslashreplace")
    if good:
        assert_same(tensors_of(reading.table), expected_tensors(b"\n".join(good), "ndjson"))


LIST_DAMAGES = [
    ([1], "values of shape (1,) where the model takes values of shape (2)"),
    ([1, 2, 3], "values of shape (3,) where"),
    ([[1, 2]], "values of shape (1, 2) where"),
    ([1, [2]], "lists of different lengths where"),
    (1, "values of shape () where"),
    (None, "values of shape () where"),
    ([1, "a"], "text where the model takes a number"),
    ([1, None], "a missing value where the model takes a number"),
]


@pytest.mark.parametrize(("value", "reason"), LIST_DAMAGES)
def test_a_list_of_another_shape_is_bad(tmp_path: Path, value: object, reason: str) -> None:
    data = b"\n".join(orjson.dumps({"v": row}) for row in ([1, 2], value, [3.5, 4]))
    reading = read_all(source_of(tmp_path, data, signature_of(Column("v", "float32", (2,)))))
    assert reading.table["v"].to_pylist() == [[1, 2], [3.5, 4]]
    assert reading.bad[1].column == "v"
    assert reading.bad[1].reason.startswith(reason)


def test_a_dimension_that_varies_gives_lists(tmp_path: Path) -> None:
    signature = signature_of(Column("v", "int64", (None,)))
    reading = read_all(source_of(tmp_path, b'{"v": [1, 2]}\n{"v": [3]}\n{"v": 4}', signature))
    assert reading.table.schema.field("v").type == pa.list_(pa.int64())
    assert reading.table["v"].to_pylist() == [[1, 2], [3]]
    assert list(reading.bad) == [2]


KEPT = [
    (["1", "null", "-3"], pa.int64(), [1, None, -3]),
    (["1", "18446744073709551615"], pa.uint64(), [1, 2**64 - 1]),
    (["1", "2.5"], pa.float64(), [1.0, 2.5]),
    (["true", "false"], pa.bool_(), [True, False]),
    (['"a"', "null"], pa.string(), ["a", None]),
    (['"a"', "1", "true", "[1, {}]"], pa.string(), ["a", "1", "true", "[1,{}]"]),
    (['{"b": 1}'], pa.string(), ['{"b":1}']),
    (["null"], pa.string(), [None]),
]


@pytest.mark.parametrize(("values", "dtype", "expected"), KEPT)
def test_the_type_of_another_column_is_seen_from_the_first_rows(
    tmp_path: Path, values: list[str], dtype: pa.DataType, expected: list[object]
) -> None:
    data = "\n".join(f'{{"x": 1, "id": {value}}}' for value in values)
    reading = read_all(source_of(tmp_path, data.encode(), signature_of(Column("x", "float32"))))
    assert reading.table.schema.field("id").type == dtype
    assert reading.table["id"].to_pylist() == expected


def test_a_later_value_of_another_type_makes_its_row_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops_kit.modes.batch.sources.ndjson.SAMPLE_BYTES", 20)
    data = b'{"x": 1, "id": 5}\n{"x": 1, "id": "a"}\n{"x": 1}\n{"x": 1, "id": 7.5}\n'
    reading = read_all(source_of(tmp_path, data, signature_of(Column("x", "float32"))))
    assert reading.table["id"].to_pylist() == [5, None]
    assert reading.bad[1].reason == "text where the column has a whole number"
    assert (reading.bad[3].column, reading.bad[3].record) == ("id", '{"x": 1, "id": 7.5}')


def test_columns_are_those_of_the_rows_and_of_the_model(tmp_path: Path) -> None:
    source = source_of(tmp_path, b'no json\n[]\n{"b": true, "extra": 1}\n{"more": 1}')
    assert source.schema.names == ["b", "extra", "more", "s", "x", "i"]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"")
    assert [unit.span for unit in source.units] == [(0, 0)]
    assert read_all(source).table.num_rows == 0


def test_files_follow_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"")
    (tmp_path / "b.ndjson").write_bytes(line(id=1) + b"\n" + line(id=2))
    source = NdjsonSource(tmp_path, [tmp_path / "a.ndjson", tmp_path / "b.ndjson"], SIGNATURE, unit_bytes=30)
    assert read_all(source).table["id"].to_pylist() == [1, 2]
    first_line = len(line(id=1)) + 1
    assert [unit.part for unit in source.units][1:] == [
        "b-000000000000.parquet",
        f"b-{first_line:012d}.parquet",
    ]


def test_a_line_that_does_not_end_is_skipped_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 64)
    monkeypatch.setattr(text, "MOST_RECORD_BYTES", 200)
    reading = read_all(source_of(tmp_path, line() + b"\n" + line(s="x" * 3000) + b"\n" + line(s="c")))
    assert (reading.numbers, list(reading.bad)) == ([0, 2], [1])
    assert len(reading.bad[1].record) < 300


def test_a_file_that_changes_is_refused(tmp_path: Path) -> None:
    source = source_of(tmp_path, line() + b"\n")
    (tmp_path / "rows.ndjson").write_bytes(line() + b"\n" + line())
    with pytest.raises(InputError, match="changed while it was read"):
        read_all(source)
