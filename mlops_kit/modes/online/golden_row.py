"""A row to begin with: one of those that a bundle keeps with their answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from mlops_kit.bundle.bundle import Bundle
from mlops_kit.bundle.goldens import read_goldens
from mlops_kit.schema import Array


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """A row and the answer of the original framework, as JSON has them: a missing number is None."""

    row: Mapping[str, Any]
    answer: Mapping[str, Any]


def read_golden_row(bundle: Bundle) -> GoldenRow:
    """The first row that lacks nothing, or else the first. Raises BundleError if the file is damaged."""
    rows, answers = read_goldens(bundle.directory, bundle.manifest)
    signature = bundle.manifest.signature
    columns = {column.name: _as_json(rows[column.name], column.dtype) for column in signature.columns}
    complete = (i for i, values in enumerate(zip(*columns.values(), strict=True)) if None not in values)
    index = next(complete, 0)
    return GoldenRow(
        {name: values[index] for name, values in columns.items()},
        {output.name: _as_json(answers[output.name], output.dtype)[index] for output in signature.outputs},
    )


def _as_json(values: Array, dtype: str) -> list[Any]:
    if values.dtype == object:
        return values.tolist()  # type: ignore[no-any-return]
    # The file may have float64 for float32; orjson writes the shortest digits that give the same float32 again.
    written = orjson.dumps(np.ascontiguousarray(values, dtype), option=orjson.OPT_SERIALIZE_NUMPY)
    return orjson.loads(written)  # type: ignore[no-any-return]
