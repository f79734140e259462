"""The rows that the original framework is asked about, and what it answers."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from mlops_kit.errors import MlkitError, SampleError
from mlops_kit.exporters.interface import Sample, SourceModel
from mlops_kit.exporters.probes import (
    INVENTED_ROWS,
    Probe,
    Probes,
    ask,
    choose_sample_rows,
    invented_rows,
    make_probes,
)
from mlops_kit.frames import join_rows, select_rows
from mlops_kit.schema import Array, Column, Columns


@dataclass(frozen=True, slots=True)
class Reference:
    """Rows with the original's answers: first those of the sample, by their indices in it, then the probes."""

    rows: Columns
    answers: Columns
    sample_indices: Array
    probes: tuple[Probe, ...]
    columns: tuple[Column, ...]
    refused: Probes

    @property
    def sample_rows(self) -> int:
        """How many of the rows are of the sample."""
        return len(self.sample_indices)

    def without_nulls_in(self, columns: Collection[str]) -> "Reference":
        """The same without the probes for missing values in `columns`, which take none from now on."""
        kept = [
            index
            for index, probe in enumerate(self.probes)
            if not (probe.kind == "missing" and probe.column in columns)
        ]
        rows = np.array([*range(self.sample_rows), *(self.sample_rows + index for index in kept)])
        return replace(
            self,
            rows=select_rows(self.rows, rows),
            answers=select_rows(self.answers, rows),
            probes=tuple(self.probes[index] for index in kept),
            columns=tuple(replace(c, nullable=c.nullable and c.name not in columns) for c in self.columns),
        )


def reference_rows(source: SourceModel, sample: Sample | None) -> Reference:
    """Ask the original framework about the sample and about made-up rows. Raises SampleError if it refuses
    the sample itself.
    """
    if sample is None:
        rows = invented_rows(source.columns)
        indices = np.arange(INVENTED_ROWS)
    else:
        rows = {column.name: sample.columns[column.name] for column in source.columns}
        indices = choose_sample_rows(rows)
        rows = select_rows(rows, indices)
    try:
        answers = source.reference(rows)
    except MlkitError:
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {error}".split("\n", 1)[0]
        raise SampleError(
            f"the original {source.framework} model cannot predict the {'sample' if sample else 'made-up'} rows",
            line,
            "give a --sample with the columns and dtypes that it was trained on",
        ) from error
    asked = ask(source.reference, make_probes(source.columns, rows))
    takes_nulls = {probe.column for probe in asked.accepted.probes if probe.kind == "missing"}
    columns = tuple(
        replace(
            column, nullable=column.nullable and (column.name in takes_nulls or has_missing(rows[column.name]))
        )
        for column in source.columns
    )
    return Reference(
        join_rows([dict(rows), dict(asked.accepted.rows)]),
        join_rows([dict(answers), dict(asked.answers)]) if asked.accepted.probes else answers,
        indices,
        asked.accepted.probes,
        columns,
        asked.refused,
    )


def has_missing(values: Array) -> bool:
    """Whether a column has a missing value: None among text, NaN among numbers."""
    if values.dtype == object:
        return any(value is None for value in values.flat)
    return values.dtype.kind == "f" and bool(np.isnan(values).any())
