import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.errors import ColumnValueError, InputError, MissingColumnsError
from mlops_kit.modes.once.rows import format_rows, parse_rows
from mlops_kit.schema import Column, Output, Signature, Tensor

SIGNATURE = Signature(
    (Column("n", "float64", nullable=True), Column("s", "string"), Column("i", "int64"), Column("b", "bool")),
    tuple(Tensor(name, dtype, (name,), "array") for name, dtype in (("n", "float64"), ("s", "string"))),
    (Output("prediction", "float64", "y"),),
)
ROW = '{"n": 1.5, "s": "a", "i": 3, "b": true}'
ROWS = [
    (ROW, "json", [1.5], ["a"]),
    (f"\n {ROW}\n", "json", [1.5], ["a"]),
    ('{"n": 1.5, "s": "a",\n "i": 3, "b": true}', "json", [1.5], ["a"]),
    (f"[{ROW}, {ROW}]", "json", [1.5, 1.5], ["a", "a"]),
    ("[]", "json", [], []),
    (f"{ROW}\n\n{ROW}\n", "ndjson", [1.5, 1.5], ["a", "a"]),
    ("n,s,i,b\n1.5,a,3,true\n,é,-1,0\n", "csv", [1.5, None], ["a", "é"]),
    ("\ufeff" + ROW, "json", [1.5], ["a"]),
    ('\ufeffb,i,s,n\r\n1,3,"a, b",nan\r\n', "csv", ["nan"], ["a, b"]),
]


@pytest.mark.parametrize(("text", "text_format", "numbers", "texts"), ROWS)
def test_rows_are_read_from_every_format(
    text: str, text_format: str, numbers: list[object], texts: list[str]
) -> None:
    parsed = parse_rows(text.encode(), SIGNATURE)
    assert parsed.format == text_format
    assert [str(n) if n != n else n for n in parsed.columns["n"].tolist()] == numbers
    assert parsed.columns["s"].tolist() == texts
    assert parsed.is_single == (text_format == "json" and "{" in text.strip()[:2] and text.strip()[0] != "[")


BAD = [
    ("{", InputError, "not valid JSON"),
    ("garbage", InputError, "neither JSON nor CSV"),
    ("PAR1", InputError, "use mlkit batch-predict"),
    ("n,s,i,b,n\n1,a,2,true,3\n", InputError, "two columns are called 'n'"),
    (f'{ROW}\n{{"n":\n', InputError, "line 2 is not valid JSON"),
    ("[1]", InputError, "row 0 is no object"),
    ('[{"n": 1}]', MissingColumnsError, "missing columns: 's', 'i' and|missing columns: 's', 'i', 'b'"),
    (f'[{ROW}, {{"n": 1, "S": "a", "i": 1, "b": true}}]', MissingColumnsError, "missing column: 's'"),
    ("n,s,i\n1,a,2\n", MissingColumnsError, "missing column: 'b'"),
    ("n,s,i,b\n1,a,2\n", InputError, "row 0 has 3 fields"),
    ("n,s,i,b\n1,a,2,true\nx,a,2,true\n", ColumnValueError, "column 'n', row 1: text"),
    (
        "n,s,i,b\n1,a,2.5,true\n",
        ColumnValueError,
        "column 'i', row 0: a number that is not whole where the model takes a whole number",
    ),
    ("n,s,i,b\n1,a,2,maybe\n", ColumnValueError, "column 'b', row 0"),
    ('n,s,i,b\n1,"a,2,true\n', InputError, "not valid CSV"),
]


@pytest.mark.parametrize(("text", "error", "message"), BAD)
def test_bad_rows_are_refused_with_the_place(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        parse_rows(text.encode(), SIGNATURE)


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InputError, match="not valid CSV"):
        parse_rows(b"n,s,i,b\n1,\xff,2,true\n", SIGNATURE)


def test_answers_come_in_the_format_of_the_rows() -> None:
    outputs = {"prediction": np.array([0.1, np.nan], np.float32), "label": np.array(["a", "b"], object)}
    first = float(np.float32(0.1))
    assert format_rows(outputs, "csv").decode() == f"prediction,label\n{first},a\n,b\n"
    lines = f'{{"prediction":{first},"label":"a"}}\n{{"prediction":null,"label":"b"}}\n'
    assert format_rows(outputs, "ndjson").decode() == lines
    one = {name: values[:1] for name, values in outputs.items()}
    assert format_rows(one, "json", is_single=True).decode().startswith("{")
    assert format_rows(one, "json").decode().startswith("[")


@given(st.binary(max_size=200))
def test_any_input_is_read_or_refused(data: bytes) -> None:
    try:
        parsed = parse_rows(data, SIGNATURE)
    except InputError:
        return
    assert set(parsed.columns) == {column.name for column in SIGNATURE.columns}
