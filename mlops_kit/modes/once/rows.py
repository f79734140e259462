"""Rows as text: JSON (one object, or an array of them), NDJSON and CSV."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson

from mlops_kit.errors import ColumnValueError, InputError, MissingColumnsError
from mlops_kit.schema import FLOATS, Array, Column, Columns, Signature

TextFormat = Literal["json", "ndjson", "csv"]

LARGEST_EXACT = 2**53
"""Up to which float64 has every whole number."""


@dataclass(frozen=True, slots=True)
class TextRows:
    """Parsed rows. `is_single` is a lone JSON object, whose answer is a lone object, too."""

    columns: Columns
    format: TextFormat
    is_single: bool = False


def parse_rows(
    data: bytes,
    signature: Signature,
    text_format: TextFormat | None = None,
    optional: Collection[str] = (),
) -> TextRows:
    """Read rows; the format is recognised by content if it is not given.

    Columns of CSV that are `optional` may lack. Raises InputError if the text is not of the format,
    MissingColumnsError if a row lacks a column.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.startswith(b"PAR1"):
        raise InputError("the rows are a Parquet file", "mlkit predict reads text", "use mlkit batch-predict")
    text_format = text_format or recognise_format(data)
    if text_format == "csv":
        return TextRows(_parse_csv(data, signature, optional), "csv")
    if text_format == "ndjson":
        rows = [_parse_json(line, number) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
        return TextRows(_columns_of_rows(rows, signature), "ndjson")
    document = _parse_json(data, None)
    if isinstance(document, list):
        return TextRows(_columns_of_rows(document, signature), "json")
    return TextRows(_columns_of_rows([document], signature), "json", is_single=True)


def format_rows(outputs: Columns, text_format: TextFormat, is_single: bool = False) -> bytes:
    """Predictions as text, one object or line for each row. NaN and infinity are null in JSON."""
    lists = {name: values.tolist() for name, values in outputs.items()}
    rows = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    if text_format == "csv":
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(lists)
        writer.writerows(["" if value != value else value for value in row.values()] for row in rows)
        return text.getvalue().encode()
    if text_format == "ndjson":
        return b"".join(orjson.dumps(row) + b"\n" for row in rows)
    return orjson.dumps(rows[0] if is_single else rows, option=orjson.OPT_INDENT_2) + b"\n"


def recognise_format(data: bytes) -> TextFormat:
    r"""The format of rows, by their first characters.

    >>> recognise_format(b'{"a": 1}'), recognise_format(b'{"a": 1}\n{"a": 2}'), recognise_format(b"a,b\n1,2")
    ('json', 'ndjson', 'csv')
    """
    text = data.strip()
    if text[:1] == b"[":
        return "json"
    if text[:1] != b"{":
        return "csv"
    first_line = text.split(b"\n", 1)[0]
    if len(first_line) == len(text):
        return "json"
    try:
        orjson.loads(first_line)
    except orjson.JSONDecodeError:
        return "json"
    return "ndjson"


def _parse_json(data: bytes, line: int | None) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        where = "the input" if line is None else f"line {line}"
        raise InputError(
            f"{where} is not valid JSON", str(error), 'give rows such as {"origin": "JFK", "dep_delay": 12}'
        ) from error


def _columns_of_rows(rows: Sequence[Any], signature: Signature) -> dict[str, Array]:
    names = [column.name for column in signature.columns]
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InputError(
                f"row {number} is no object", "each row names its columns", 'give {"column": value, …}'
            )
        if missing := [name for name in names if name not in row]:
            raise MissingColumnsError(missing, row)
    return {column.name: _column([row[column.name] for row in rows], column) for column in signature.columns}


def _column(values: list[Any], column: Column) -> Array:
    if column.shape:
        return nested_column(values, column)
    array = np.empty(len(values), object)
    array[:] = values
    return array


def nested_column(values: list[Any], column: Column) -> Array:
    """The values of a column that has a shape. Raises ColumnValueError where they differ in theirs."""
    try:
        return np.array(values)
    except ValueError as error:
        raise ColumnValueError(column.name, "lists of equal lengths", "lists of different lengths") from error


def _parse_csv(data: bytes, signature: Signature, optional: Collection[str]) -> dict[str, Array]:
    try:
        reader = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
        header, *rows = [row for row in reader if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "the input is not valid CSV", str(error), "give a header line, then a line for each row"
        ) from error
    if not rows and len(header) < 2:
        raise InputError(
            "the input is neither JSON nor CSV", fix='give rows such as {"origin": "JFK", "dep_delay": 12}'
        )
    names = [column.name for column in signature.columns]
    counts = Counter(header)
    if twice := [name for name in names if counts[name] > 1]:
        raise InputError(f"two columns are called {twice[0]!r}", fix="remove one of them")
    if missing := [name for name in names if name not in counts and name not in optional]:
        raise MissingColumnsError(missing, header)
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise InputError(
                f"row {number} has {len(row)} fields", f"the header has {len(header)}", "mend that line"
            )
    places = {name: place for place, name in enumerate(header)}
    return {
        c.name: _csv_column([row[places[c.name]] for row in rows], c)
        for c in signature.columns
        if c.name in places
    }


def _csv_column(texts: list[str], column: Column) -> Array:
    values = np.empty(len(texts), object)
    values[:] = [csv_value(text, row, column) for row, text in enumerate(texts)]
    return values


def csv_value(text: str, row: int, column: Column) -> Any:
    """What a field says, None where it is empty. Raises ColumnValueError for what the column does not take."""
    if text == "":
        return None
    if column.dtype == "string":
        return text
    if column.dtype == "bool":
        truth = {"true": True, "false": False, "1": True, "0": False}.get(text.strip().lower())
        if truth is None:
            raise ColumnValueError(column.name, "true or false", "text", row)
        return truth
    try:
        return float(text) if column.dtype in FLOATS else _whole_number(text, row, column)
    except ValueError as error:
        raise ColumnValueError(column.name, column.expected, "text", row) from error


def _whole_number(text: str, row: int, column: Column) -> int:
    """Also of 25.0 and 2.5e1, up to where a float knows every whole number."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if not number.is_integer():
        raise ColumnValueError(column.name, column.expected, "a number that is not whole", row)
    if abs(number) > LARGEST_EXACT:
        raise ColumnValueError(column.name, column.expected, "a number that may have been rounded", row)
    return int(number)
