"""Reads a source to its end and compares with what `mlkit predict` makes of the same text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mlops_kit.assembly import assemble
from mlops_kit.modes.batch.conversion import columns_of_batch
from mlops_kit.modes.batch.sources.interface import BadRow, Source
from mlops_kit.modes.once.rows import TextFormat, parse_rows
from mlops_kit.schema import Array, Column, Output, Signature, Tensor

COLUMNS = (
    Column("s", "string", nullable=True),
    Column("x", "float32", nullable=True),
    Column("i", "int64"),
    Column("b", "bool"),
)


def signature_of(*columns: Column) -> Signature:
    """A model that takes these columns, each in a tensor of its own."""
    tensors = tuple(Tensor(column.name, column.dtype, (column.name,), "array") for column in columns)
    return Signature(columns, tensors, (Output("prediction", "float32", "y"),))


SIGNATURE = signature_of(*COLUMNS)


@dataclass(frozen=True)
class Reading:
    """All rows of a source; the numbers of the good ones, and the bad ones, counted from its beginning."""

    table: pa.Table
    numbers: list[int]
    bad: dict[int, BadRow]


def read_all(source: Source, columns: Sequence[str] | None = None, rows: int = 1000) -> Reading:
    """Read every unit, and check that its chunks follow each other and account for each record."""
    columns = list(columns or source.schema.names)
    batches, numbers = [], []
    bad: dict[int, BadRow] = {}
    base = 0
    for unit in source.units:
        first = 0
        for chunk in source.chunks(unit, columns, rows):
            in_chunk = np.arange(first, first + chunk.rows.num_rows) if chunk.numbers is None else chunk.numbers
            named = [*in_chunk.tolist(), *(row.row for row in chunk.bad)]
            assert chunk.first == first
            assert chunk.records <= rows
            assert sorted(named) == [*range(first, first + chunk.records)]
            assert chunk.rows.schema.types == [source.schema.field(name).type for name in columns]
            numbers += [base + number for number in in_chunk.tolist()]
            bad |= {base + row.row: row for row in chunk.bad}
            batches.append(chunk.rows)
            first += chunk.records
        base += first
    schema = pa.schema([source.schema.field(name) for name in columns])
    return Reading(pa.Table.from_batches(batches, schema), numbers, bad)


def tensors_of(table: pa.Table, signature: Signature = SIGNATURE) -> dict[str, Array]:
    """What the model gets."""
    names = [column.name for column in signature.columns]
    batch = table.combine_chunks().to_batches()[0] if table.num_rows else empty_batch(table.schema)
    return assemble(signature, columns_of_batch(batch, names))


def expected_tensors(data: bytes, text_format: TextFormat, signature: Signature = SIGNATURE) -> dict[str, Array]:
    """What the model gets from `mlkit predict`."""
    return assemble(signature, parse_rows(data, signature, text_format).columns)


def empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def assert_same(found: dict[str, Array], expected: dict[str, Array]) -> None:
    """The same bits."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        assert found[name].shape == values.shape
        if values.dtype == object:
            assert found[name].tolist() == values.tolist()
        else:
            assert found[name].tobytes() == values.tobytes()
