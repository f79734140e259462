"""Logged requests become columns: the inputs as the model saw them, and its outputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mlops_kit.modes.online.batcher import Feeds
from mlops_kit.schema import Array, Column, Signature, Tensor


@dataclass(slots=True)
class Entry:
    """A request that was answered: references, because copying would hold up the event loop.

    `time_ns` is when it arrived, since 1970.
    """

    model: str
    digest: str
    signature: Signature
    id: str
    time_ns: int
    latency_s: float
    rows: int
    feeds: Feeds
    outputs: Sequence[Array]


def batch_of(entries: Sequence[Entry]) -> pa.RecordBatch:
    """A row for each row of the requests, which are all of one model.

    A missing number, and the text that stands for a missing one, are null; other values have the dtypes of
    the model's tensors.
    """
    signature = entries[0].signature
    rows = np.array([entry.rows for entry in entries])
    each = [(entry.id, entry.time_ns // 1000, entry.digest, entry.latency_s) for entry in entries]
    ids, times, digests, latencies = zip(*each, strict=True)
    repeated = pa.array(np.repeat(np.arange(len(entries)), rows))
    columns = {
        "id": pa.array(ids, pa.string()).take(repeated),
        "time": pa.array(times, pa.timestamp("us", "UTC")).take(repeated),
        "digest": pa.array(digests, pa.string()).take(repeated),
        "row": pa.array(np.concatenate([np.arange(count, dtype=np.int32) for count in rows])),
        "inputs": _inputs(signature, entries),
        "outputs": _outputs(signature, entries),
        "latency_s": pa.array(latencies, pa.float64()).take(repeated),
    }
    return pa.RecordBatch.from_pydict(columns)


def _inputs(signature: Signature, entries: Sequence[Entry]) -> pa.StructArray:
    by_name = {column.name: column for column in signature.columns}
    arrays: dict[str, pa.Array] = {}
    for tensor in signature.tensors:
        parts = [entry.feeds[tensor.name] for entry in entries]
        if tensor.layout == "array":
            column = by_name[tensor.columns[0]]
            if column.shape:
                arrays[column.name] = _nested(parts, column.shape)
            else:
                arrays[column.name] = _scalars(np.concatenate(parts), column, tensor)
            continue
        matrix = np.concatenate(parts)
        for index, name in enumerate(tensor.columns):
            arrays[name] = _scalars(matrix[:, index], by_name[name], tensor)
    names = [column.name for column in signature.columns]
    return pa.StructArray.from_arrays([arrays[name] for name in names], names)


def _outputs(signature: Signature, entries: Sequence[Entry]) -> pa.StructArray:
    arrays = [
        _nested([entry.outputs[index] for entry in entries], output.shape)
        for index, output in enumerate(signature.outputs)
    ]
    return pa.StructArray.from_arrays(arrays, [output.name for output in signature.outputs])


def _scalars(values: Array, column: Column, tensor: Tensor) -> pa.Array:
    if tensor.dtype == "string":
        return pa.array(values, pa.string(), mask=values == tensor.null_text if column.nullable else None)
    return pa.array(values, from_pandas=True)


def _nested(parts: Sequence[Array], shape: Sequence[int | None]) -> pa.Array:
    """Arrays of shape (rows, *shape) as one column of values, or of lists, which are as long as the shape says."""
    flat = np.concatenate([part.ravel() for part in parts])
    array = pa.array(flat, pa.string() if flat.dtype == object else None)
    for axis in range(len(shape), 0, -1):
        size = shape[axis - 1]
        if size:
            array = pa.FixedSizeListArray.from_arrays(array, size)
        else:
            lengths = [np.full(math.prod(part.shape[:axis]), part.shape[axis]) for part in parts]
            offsets = np.concatenate([[0], *lengths]).cumsum()
            array = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), array)
    return array
