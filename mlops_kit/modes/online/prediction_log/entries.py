"""Logged requests become columns: the inputs as the model saw them, and its outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mlops_kit.modes.online.batch import Feeds
from mlops_kit.schema import Array, Column, Signature, Tensor

if TYPE_CHECKING:
    from mlops_kit.features.parity.log import VectorLog
    from mlops_kit.modes.online.features.asked import Asked


@dataclass(slots=True)
class Entry:
    """A request that was answered: references, because copying would hold up the event loop.

    `time_ns` is when it arrived, since 1970. `vector_log` writes the vectors of a model with features.
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
    asked: "Asked | None" = None
    vector_log: "VectorLog | None" = None


def frame_of_entries(entries: Sequence[Entry]) -> pl.DataFrame:
    """A row for each row of the requests, which are all of one model.

    Raises ValueError, or what Polars does, if one does not fit the model's signature.

    A missing number, and the text that stands for a missing one, are null; other values have the dtypes of
    the model's tensors.
    """
    signature = entries[0].signature
    rows = np.array([entry.rows for entry in entries])
    requests = pl.DataFrame(
        {
            "id": [entry.id for entry in entries],
            "time": pl.Series([entry.time_ns // 1000 for entry in entries]).cast(pl.Datetime("us", "UTC")),
            "digest": [entry.digest for entry in entries],
            "latency_s": [entry.latency_s for entry in entries],
        }
    )
    rows_of_requests = requests[np.repeat(np.arange(len(entries)), rows)].select(
        "id",
        "time",
        "digest",
        pl.Series("row", np.concatenate([np.arange(count, dtype=np.int32) for count in rows])),
        pl.DataFrame(_inputs(signature, entries)).to_struct("inputs"),
        pl.DataFrame(_outputs(signature, entries)).to_struct("outputs"),
        "latency_s",
    )
    log, asked = entries[0].vector_log, [entry.asked for entry in entries if entry.asked]
    return rows_of_requests.hstack(log.frame([one.used() for one in asked])) if log else rows_of_requests


def _inputs(signature: Signature, entries: Sequence[Entry]) -> list[pl.Series]:
    by_name = {column.name: column for column in signature.columns}
    series: dict[str, pl.Series] = {}
    for tensor in signature.tensors:
        parts = [entry.feeds[tensor.name] for entry in entries]
        if by_name[tensor.columns[0]].shape:
            column = by_name[tensor.columns[0]]
            series[column.name] = _values(column.name, entries, parts, column.shape)
            continue
        matrix = np.concatenate(parts).reshape(-1, len(tensor.columns)).T
        for name, values in zip(tensor.columns, np.ascontiguousarray(matrix), strict=True):
            series[name] = _scalars(values, by_name[name], tensor)
    return [series[column.name] for column in signature.columns]


def _outputs(signature: Signature, entries: Sequence[Entry]) -> list[pl.Series]:
    return [
        _values(output.name, entries, [entry.outputs[index] for entry in entries], output.shape)
        for index, output in enumerate(signature.outputs)
    ]


def _scalars(values: Array, column: Column, tensor: Tensor) -> pl.Series:
    if tensor.dtype == "string":
        texts = pl.Series(column.name, values, pl.String)
        return texts.replace(tensor.null_text, None) if column.nullable else texts
    return pl.Series(column.name, values, nan_to_null=column.nullable)


def _values(name: str, entries: Sequence[Entry], parts: Sequence[Array], shape: Sequence[int | None]) -> pl.Series:
    """Each entry's array, of shape (rows, *shape), as one column of values, or of lists."""
    for entry, part in zip(entries, parts, strict=True):
        if not _has_shape(part, (entry.rows, *shape)):
            raise ValueError(f"{name} has the shape {part.shape}")
    if parts[0].dtype != object and None not in shape:
        return pl.Series(name, np.concatenate(parts))
    dtype: Any = pl.String if parts[0].dtype == object else pl.Series(parts[0].ravel()[:0]).dtype
    for size in reversed(shape):
        dtype = pl.List(dtype) if size is None else pl.Array(dtype, size)
    return pl.Series(name, [row for part in parts for row in part.tolist()], dtype)


def _has_shape(part: Array, shape: Sequence[int | None]) -> bool:
    return part.ndim == len(shape) and all(
        size in (None, found) for size, found in zip(shape, part.shape, strict=True)
    )
