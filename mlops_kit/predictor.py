"""The one hot path that every mode drives: rows → assemble → run the model → name the outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlops_kit.assembly import assemble
from mlops_kit.bundle.bundle import Bundle
from mlops_kit.errors import InputError, MissingColumnsError
from mlops_kit.row_assembly import RowAssembler
from mlops_kit.runtimes.interface import Runtime
from mlops_kit.runtimes.onnx_runtime import OnnxRuntime
from mlops_kit.schema import Array, Columns, Output, Signature


class Predictor:
    """A model ready to answer. Threads may share it.

    `row_block` makes a row's answer the same bits whatever batch it comes in: some kernels round differently
    in the last rows of a batch, or in a batch of one. Export finds the smallest block for which they do not
    (1 for trees), and every run is filled up to a multiple of it.
    """

    __slots__ = ("_runtime", "assemble_row", "bundle", "row_block", "signature")

    def __init__(
        self, signature: Signature, runtime: Runtime, row_block: int = 1, bundle: Bundle | None = None
    ) -> None:
        self.signature = signature
        self.row_block = row_block
        self.bundle = bundle
        self._runtime = runtime
        self.assemble_row = RowAssembler(signature).assemble
        """One row of Python values → every tensor of the graph. Raises MissingColumnsError, ColumnValueError."""

    @staticmethod
    def of_bundle(bundle: Bundle) -> "Predictor":
        """Construct the session of a checked bundle. Raises BundleError if graph and signature do not fit."""
        manifest = bundle.manifest
        runtime = OnnxRuntime(bundle.model_path)
        runtime.check_signature(manifest.signature)
        return Predictor(manifest.signature, runtime, manifest.row_block, bundle)

    def predict(self, rows: Any) -> dict[str, Any]:
        """Predict one row, given as a mapping of values, or many, given as a mapping of NumPy arrays or as a
        Polars, pandas or Arrow frame.

        One row gives one value per output; columns of shape (rows, …) give arrays of the same length, and
        a missing value is NaN, or None in a column of strings. Columns that the model does not have are
        ignored. Raises MissingColumnsError and ColumnValueError.
        """
        if not isinstance(rows, Mapping):
            return self.predict_columns(self._columns_of_frame(rows))
        if self._is_one_row(rows):
            return self.predict_row(rows)
        return self.predict_columns(rows)

    def predict_row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """One row of Python values in, one value per output out (an array for an output that has a shape)."""
        outputs = self.run(self.assemble_row(row), 1)
        return {
            output.name: values.item() if values.ndim == 1 else values[0]
            for output, values in zip(self.signature.outputs, outputs, strict=True)
        }

    def predict_columns(self, columns: Columns) -> dict[str, Array]:
        """Columns of equal length in, output columns of that length out."""
        feeds = self.assemble_columns(columns)
        outputs = self.run(feeds, len(next(iter(feeds.values()))))
        return {output.name: values for output, values in zip(self.signature.outputs, outputs, strict=True)}

    def assemble_columns(self, columns: Columns) -> dict[str, Array]:
        """Every tensor of the graph. Raises MissingColumnsError, ColumnValueError and InputError."""
        return assemble(self.signature, columns)

    def run(self, feeds: Mapping[str, Array], rows: int) -> Sequence[Array]:
        """Assembled tensors of so many rows in, the signature's outputs in their order out."""
        if rows == 0:
            return [_empty(output) for output in self.signature.outputs]
        if padding := -rows % self.row_block:
            feeds = {
                name: np.concatenate([tensor, tensor[-1:].repeat(padding, 0)]) for name, tensor in feeds.items()
            }
        tensors = self._runtime.run(feeds)
        return [_read_output(output, tensors[output.tensor], rows) for output in self.signature.outputs]

    def _columns_of_frame(self, frame: Any) -> dict[str, Array]:
        # Arrow calls column_names what Polars and pandas call columns.
        names = getattr(frame, "column_names", getattr(frame, "columns", None))
        if names is None:
            raise InputError(
                f"a {type(frame).__name__} is neither a row nor columns",
                fix="give a mapping of values, a mapping of NumPy arrays, or a data frame",
            )
        wanted = [column.name for column in self.signature.columns]
        if missing := [name for name in wanted if name not in names]:
            raise MissingColumnsError(missing, map(str, names))
        return {name: np.asarray(frame[name]) for name in wanted}

    def _is_one_row(self, rows: Mapping[str, Any]) -> bool:
        for column in self.signature.columns:
            value = rows.get(column.name)
            if isinstance(value, np.ndarray):
                return value.ndim == len(column.shape)
            if value is not None:
                return True
        return True


def _read_output(output: Output, tensor: Array, rows: int) -> Array:
    if len(tensor) != rows:
        tensor = tensor[:rows]
    if output.index is not None:
        return tensor[:, output.index]
    if not output.shape and tensor.ndim > 1:
        return tensor.reshape(rows)
    return tensor


def _empty(output: Output) -> Array:
    dtype = object if output.dtype == "string" else output.dtype
    return np.empty((0, *(size or 0 for size in output.shape)), dtype)
