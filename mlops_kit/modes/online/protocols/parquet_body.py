"""Parquet bodies, which strangers make: a small file may say that it has billions of values.

PyArrow refuses damaged files, where Polars panics, or ends the process.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_kit.errors import InputError, TooLargeError
from mlops_kit.schema import Array, Column


def parse_parquet(body: bytes, columns: Sequence[Column], most: int) -> dict[str, Array]:
    """Those of the columns that are there.

    Raises InputError, and TooLargeError if they have more than `most` values, or bytes as the file counts them.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(body)) as file:
            schema = file.schema_arrow
            found = {column.name: column for column in columns if column.name in schema.names}
            texts = [name for name in found if _is_text(schema.field(name).type)]
        with pq.ParquetFile(pa.BufferReader(body), read_dictionary=texts) as file:
            _check_size(file.metadata, most)
            table = file.read(columns=list(found))
        return {
            name: _texts(table[name], most) if name in texts else _values(table[name], column)
            for name, column in found.items()
        }
    except (pa.ArrowException, OSError, ValueError, LookupError, ArithmeticError) as error:
        raise InputError("the body is no Parquet file that can be read") from error


def _check_size(metadata: pq.FileMetaData, most: int) -> None:
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    values = max(sum(chunk.num_values for chunk in chunks), metadata.num_rows * metadata.num_columns)
    if max(values, sum(chunk.total_uncompressed_size for chunk in chunks)) > most:
        raise TooLargeError(most)


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))


def _values(values: pa.ChunkedArray, column: Column) -> Array:
    """Numbers, with NaN or None where one is missing; lists become more dimensions."""
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return _numbers(values).to_numpy()
    return np.array(values.to_pylist()) if len(values) else np.empty((0, *(size or 0 for size in column.shape)))


def _numbers(values: pa.Array | pa.ChunkedArray) -> pl.Series:
    """PyArrow's own way to NumPy imports pandas first, which takes a second."""
    return cast(pl.Series, pl.from_arrow(values))


def _texts(column: pa.ChunkedArray, most: int) -> Array:
    """Each text is in memory once, however many rows have it; the model would have it as often."""
    parts = [np.empty(0, object)]
    size = 0
    for chunk in column.chunks:
        encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        rows = _numbers(encoded.indices).fill_null(-1).to_numpy()
        texts = np.array([*encoded.dictionary.to_pylist(), None], object)
        size += np.array([len(text or "") for text in texts])[rows].sum()
        parts.append(texts[rows])
    if size > most:
        raise TooLargeError(most)
    return np.concatenate(parts)
