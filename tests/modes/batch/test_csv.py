import csv
import io
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.errors import InputError
from mlops_kit.modes.batch.sources import text
from mlops_kit.modes.batch.sources.csv import CsvSource
from mlops_kit.modes.batch.sources.quoting import RECORD, last_end, record_ends
from mlops_kit.schema import Column
from tests.modes.batch.reading import SIGNATURE, assert_same, expected_tensors, read_all, signature_of, tensors_of

HEADER = "id,s,x,i,b\n"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.text('",\n\r a', max_size=6)
NUMBER = st.floats(width=64).map(repr) | st.sampled_from(
    ["", " 1.5", "1_000", "+2", "1e5", "-INF", "nan ", "٣", ".5"]
)
WHOLE = st.integers(-(2**63), 2**63 - 1).map(str) | st.sampled_from(
    ["007", " 5 ", "+1", "-0", "1_0", "25.0", "2.5e1", "-0.0", " 3.", "9007199254740991.0"]
)
TRUTH = st.sampled_from(["true", "FALSE", "tRuE", " 1", "0"])
ROW = st.tuples(TEXT, TEXT, NUMBER, WHOLE, TRUTH)


def source_of(folder: Path, data: bytes, unit_bytes: int = text.UNIT_BYTES) -> CsvSource:
    path = folder / "rows.csv"
    path.write_bytes(data)
    return CsvSource(folder, [path], SIGNATURE, unit_bytes=unit_bytes)


def write(rows: list[tuple[str, ...]], line_end: str = "\n") -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=line_end).writerow(["id", "s", "x", "i", "b"])
    csv.writer(out, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue().encode()


@given(
    st.lists(ROW, min_size=1),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 300),
    st.integers(1, 100),
    st.booleans(),
)
def test_rows_are_what_predict_reads(
    rows: list[tuple[str, ...]], line_end: str, unit_bytes: int, block_bytes: int, has_mark: bool
) -> None:
    data = b"\xef\xbb\xbf" * has_mark + write(rows, line_end)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK_BYTES", block_bytes)
        reading = read_all(source_of(Path(folder), data, unit_bytes), rows=3)
    assert not reading.bad
    assert [value or "" for value in reading.table["id"].to_pylist()] == [row[0] for row in rows]
    assert_same(tensors_of(reading.table), expected_tensors(data, "csv"))


DAMAGES = [
    (b"1,a,1.5,1", "4 fields where the header has 5"),
    (b"1,a,1.5,1,true,more", "6 fields where the header has 5"),
    (b"1,a,much,1,true", "text where the model takes a number"),
    (b"1,a,1.5,1.5,true", "a number that is not whole where the model takes a whole number"),
    (b"1,a,1.5,1e16,true", "a number that may have been rounded where the model takes a whole number"),
    (b"1,a,1.5,inf,true", "a number that is not whole where the model takes a whole number"),
    (b"1,a,1.5,nan,true", "a number that is not whole where the model takes a whole number"),
    (
        b"1,a,1.5,9223372036854775808,true",
        f"a number out of range where the model takes a whole number from {-(2**63)} to {2**63 - 1}",
    ),
    (b"1,a,1.5,1,maybe", "text where the model takes true or false"),
    (b'1,"a"b,1.5,1,true', "not valid CSV: ',' expected after '\"'"),
    (b"\xff,a,1.5,1,true", "bytes that are not UTF-8"),
    (b"1,a", "2 fields where the header has 5"),
]
GOOD = [b"1,a,1.5,1,true", b'2,"x\ny",,-5,0', b'3,"say ""hi""",2,7,False', b'4,5" pipe,1,1,1']


@given(
    st.lists(st.sampled_from(GOOD) | st.sampled_from(DAMAGES), min_size=1), st.integers(1, 200), st.integers(1, 60)
)
def test_exactly_the_damaged_rows_are_bad(
    lines: list[bytes | tuple[bytes, str]], unit_bytes: int, block_bytes: int
) -> None:
    records = [line if isinstance(line, bytes) else line[0] for line in lines]
    reasons = {number: line[1] for number, line in enumerate(lines) if not isinstance(line, bytes)}
    good = [line for line in lines if isinstance(line, bytes)]
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK_BYTES", block_bytes)
        data = HEADER.encode() + b"\n".join(records) + b"\n"
        reading = read_all(source_of(Path(folder), data, unit_bytes), rows=2)
    assert {number: row.reason for number, row in reading.bad.items()} == reasons
    for number, row in reading.bad.items():
        assert row.record == records[number].decode(errors="backslashreplace")
    if good:
        assert_same(tensors_of(reading.table), expected_tensors(HEADER.encode() + b"\n".join(good), "csv"))


TOKENS = st.lists(st.sampled_from(['"', '""', ",", "\n", "\r\n", "\r", "a", "é"]), max_size=12).map("".join)


@given(TOKENS)
def test_records_end_where_pythons_csv_ends_them(tokens: str) -> None:
    data = tokens.encode()
    ends, position = [], 0
    while position < len(data) and (match := RECORD.match(data, position)):
        position = match.end()
        ends.append(position)
    assert record_ends(data).tolist() == ends
    assert last_end(data, True) == (ends[-1] if ends else 0)
    try:
        expected = list(csv.reader(io.StringIO(tokens, newline=""), strict=True))
    except csv.Error:
        return
    starts = [0, *ends][: len(ends)]
    records = [data[start:end].decode() for start, end in zip(starts, ends, strict=True)]
    assert [next(csv.reader([record], strict=True)) for record in records] == expected


@given(TOKENS, TOKENS)
def test_what_follows_never_moves_an_end_that_was_found(first: str, second: str) -> None:
    found = record_ends(first.encode(), is_last=False).tolist()
    assert record_ends((first + second).encode()).tolist()[: len(found)] == found


FILES = [
    ("id,s,x,i,b", 0),
    ("id,s,x,i,b\n", 0),
    ("\n\r\nid,s,x,i,b\n\n1,a,2,3,1\n\n\n2,b,,4,0", 2),
    ("id,s,x,i,b\r1,a,2,3,1\r2,b,,4,0\r", 2),
    ('"i\nd",s,x,i,b\n1,a,2,3,1\n', 1),
    ('\ufeff"id",s,x,i,b\n1,a,2,3,1', 1),
]


@pytest.mark.parametrize(("content", "rows"), FILES)
def test_every_form_of_a_file_is_read(tmp_path: Path, content: str, rows: int) -> None:
    source = source_of(tmp_path, content.encode())
    reading = read_all(source)
    assert (reading.table.num_rows, reading.bad, len(source.units)) == (rows, {}, 1)
    assert source.schema.names[1:] == ["s", "x", "i", "b"]


REFUSED = [
    (b"", "empty"),
    (b"\xef\xbb\xbf\n\n", "empty"),
    (b"id,s,x,i\n1,a,2,3\n", "missing column: 'b'"),
    (b"id,s,X,i,b\n", "did you mean|check the name"),
    (b"x,s,x,i,b\n", "two columns are called 'x'"),
    (b'"id,s,x,i,b\n1,a,2,3,1\n', "header does not end"),
    (b"\x1f\x8b\x08\x00", "no header of a CSV file"),
    ("id,s,x,i,b\n".encode("utf-16"), "no header of a CSV file"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_a_file_without_a_fitting_header_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        source_of(tmp_path, content)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        CsvSource(tmp_path, [tmp_path / "no.csv"], SIGNATURE)


def test_a_model_that_takes_lists_cannot_be_fed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(InputError, match="the model takes lists for 'x'"):
        CsvSource(tmp_path, [tmp_path / "a.csv"], signature_of(Column("x", "float32", (2,))))


def test_columns_that_nobody_can_name_are_left_out(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"id,s,x,i,b,,\n1,a,2,3,1,,\n")
    assert source.schema.names == ["id", "s", "x", "i", "b"]
    assert read_all(source).table.num_rows == 1


def test_files_may_order_their_columns_differently(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.csv").write_text("id,s,x,i,b,more\n1,a,2,3,1,z\n")
    (tmp_path / "sub" / "b.csv").write_text("b,i,x,s,id\n0,4,5,c,2\n")
    source = CsvSource(tmp_path, [tmp_path / "a.csv", tmp_path / "sub" / "b.csv"], SIGNATURE)
    assert [unit.part for unit in source.units] == ["a-000000000016.parquet", "sub/b-000000000011.parquet"]
    assert source.schema.names == ["id", "s", "x", "i", "b"]
    assert read_all(source, ["i", "id"]).table.to_pydict() == {"i": [3, 4], "id": ["1", "2"]}


SWALLOWED = [
    # A quote that is never closed: only its line is lost.
    (['1,"a,1,1,1', "2,b,1,1,1", "3,c,1,1,1"], {0: "a quote is never closed"}, [1, 2]),
    # The next quote closes it, in a place where none belongs.
    (['1,"a,1,1,1', "2,b,1,1,1", '3,"c",1,1,1', "4,d,1,1,1"], {0: "not valid CSV"}, [1, 2, 3]),
    (["1,a,1,1,1", '2,b,1,1,"1'], {1: "a quote is never closed"}, [0]),
]


@pytest.mark.parametrize(("lines", "reasons", "good"), SWALLOWED)
@pytest.mark.parametrize("most_bytes", [5, text.MOST_RECORD_BYTES])
def test_a_quote_out_of_place_costs_its_own_line_only(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[str],
    reasons: dict[int, str],
    good: list[int],
    most_bytes: int,
) -> None:
    monkeypatch.setattr(text, "MOST_RECORD_BYTES", most_bytes)
    reading = read_all(source_of(tmp_path, (HEADER + "\n".join(lines) + "\n").encode()))
    assert reading.numbers == good
    assert {number: row.record for number, row in reading.bad.items()} == {n: lines[n] for n in reasons}
    for number, reason in reasons.items():
        assert reading.bad[number].reason.startswith(reason)


def test_a_line_that_does_not_end_is_skipped_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "BLOCK_BYTES", 64)
    monkeypatch.setattr(text, "MOST_RECORD_BYTES", 200)
    data = (HEADER + "1,a,1,1,1\n2," + "x" * 3000 + ",1,1,1\n3,c,1,1,1\n").encode()
    reading = read_all(source_of(tmp_path, data))
    assert (reading.numbers, list(reading.bad)) == ([0, 2], [1])
    assert len(reading.bad[1].record) < 300


def test_a_field_that_predict_refuses_for_its_length_is_bad(tmp_path: Path) -> None:
    reading = read_all(source_of(tmp_path, (HEADER + f"1,{'x' * 131073},1,1,1\n2,b,1,1,1\n").encode()))
    assert (reading.numbers, reading.bad[0].reason) == (
        [1],
        "not valid CSV: field larger than field limit (131072)",
    )
    assert len(reading.bad[0].record) == text.RECORD_CHARACTERS


def test_whole_numbers_beyond_int64_are_kept_where_the_model_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("u,v\n18446744073709551615,-9223372036854775808\n-1,\n")
    reading = read_all(CsvSource(tmp_path, [path], signature_of(Column("u", "uint64"), Column("v", "int8"))))
    assert reading.table.to_pylist() == [{"u": 2**64 - 1, "v": -(2**63)}]
    assert reading.bad[1].column == "u"


def test_an_empty_field_is_null_whatever_the_column(tmp_path: Path) -> None:
    reading = read_all(source_of(tmp_path, f'{HEADER},"",,,\n'.encode()))
    assert reading.table.to_pylist() == [{"id": None, "s": None, "x": None, "i": None, "b": None}]


def test_the_fingerprint_follows_the_file_and_its_header(tmp_path: Path) -> None:
    def fingerprints(content: str) -> list[str]:
        return [unit.fingerprint for unit in source_of(tmp_path, content.encode(), unit_bytes=20).units]

    content = HEADER + "1,a,1,1,1\n" * 6
    before = fingerprints(content)
    os.utime(tmp_path / "rows.csv", ns=(1, 1))
    untouched = CsvSource(tmp_path, [tmp_path / "rows.csv"], SIGNATURE, unit_bytes=20)
    again = CsvSource(tmp_path, [tmp_path / "rows.csv"], SIGNATURE, unit_bytes=20)
    assert len(set(before)) == 3
    assert [unit.fingerprint for unit in untouched.units] == [unit.fingerprint for unit in again.units]
    assert not set(before) & {unit.fingerprint for unit in again.units}
    renamed = content.replace("id", "ix")
    (tmp_path / "rows.csv").write_text(renamed)
    os.utime(tmp_path / "rows.csv", ns=(1, 1))
    other = CsvSource(tmp_path, [tmp_path / "rows.csv"], SIGNATURE, unit_bytes=20)
    assert not {unit.fingerprint for unit in other.units} & {unit.fingerprint for unit in again.units}


@pytest.mark.parametrize("content", [HEADER + "1,a,1,1,1\n", HEADER, HEADER + "1,a,1,1,1\n2,b,1,1,1\n3,c,1,1,1\n"])
def test_a_file_that_changes_is_refused(tmp_path: Path, content: str) -> None:
    source = source_of(tmp_path, (HEADER + "1,a,1,1,1\n2,b,1,1,1\n").encode())
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(InputError, match="changed while it was read"):
        read_all(source)


def test_a_file_that_changes_at_the_last_moment_is_refused(tmp_path: Path) -> None:
    source = source_of(tmp_path, (HEADER + "1,a,1,1,1\n2,b,1,1,1\n").encode())
    chunks = source.chunks(source.units[0], ["s"], 1)
    next(chunks)
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("3,c,1,1,1\n")
    with pytest.raises(InputError, match="changed while it was read"):
        list(chunks)


def test_the_number_of_rows_is_estimated(tmp_path: Path) -> None:
    source = source_of(tmp_path, (HEADER + "1,a,1,1,1\n" * 1000).encode(), unit_bytes=2000)
    assert len(source.units) == 5
    assert [unit.rows for unit in source.units] == [200] * 5
