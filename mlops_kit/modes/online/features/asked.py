"""A request while its features are looked up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlops_kit.features.online.sources import Keys
from mlops_kit.features.online.vectors import Found, Vectors
from mlops_kit.features.parity.log import UsedVectors
from mlops_kit.schema import Array

Values = Sequence[Any]


@dataclass(slots=True, eq=False)
class Looked:
    """What became of the requests of a run, one after the other: the features as the model got them, and the
    tensors that they were assembled into.
    """

    vectors: Vectors
    values: Mapping[str, Array]
    tensors: Mapping[str, Array]
    seconds: float


@dataclass(slots=True, eq=False)
class Asked:
    """`columns` have a value for each row, those of `given` features None where the request has none; `keys` those
    of each source. `as_of_us` is T: when the request began, or what the client asked for if it `is_timed`. `found`
    is what the store had, which took it `fetch_s`, and None where that is not known and no defaults are allowed;
    `degraded` the sources whose features have defaults because it did not answer, or gave what cannot be used. In
    the end, its rows are those of `looked` from `first` on.
    """

    rows: int
    columns: Mapping[str, Values]
    given: Mapping[str, Values]
    keys: Sequence[Keys]
    as_of_us: int = -1
    is_timed: bool = False
    found: Found | None = None
    fetch_s: float = 0.0
    degraded: Sequence[str] = ()
    looked: Looked | None = field(default=None, repr=False)
    first: int = 0

    @property
    def lookup_s(self) -> float:
        """How long it took to look up features."""
        return self.fetch_s + self.made_s

    @property
    def made_s(self) -> float:
        """How much of that was part of the run."""
        return self.looked.seconds if self.looked else 0.0

    def ages_s(self) -> dict[str, float | None]:
        """How old the features of its first row were, by source; None where there was nothing to have an age."""
        if self.looked is None:
            raise ValueError("it was not answered")
        vectors, row = self.looked.vectors, self.first
        return {
            name: None if vectors.is_missing[name][row] or ages[row] < 0 else int(ages[row]) / 1e6
            for name, ages in vectors.age_us.items()
        }

    def tensors(self) -> dict[str, Array]:
        """Its rows as the model saw them."""
        if self.looked is None:
            raise ValueError("it was not answered")
        return {name: tensor[self.first : self.first + self.rows] for name, tensor in self.looked.tensors.items()}

    def used(self) -> UsedVectors:
        """Its vectors, to be logged."""
        if self.looked is None:
            raise ValueError("it was not answered")
        rows, vectors = slice(self.first, self.first + self.rows), self.looked.vectors
        return UsedVectors(
            ts=vectors.ts[rows],
            columns={name: as_objects(values) for name, values in self.columns.items()},
            values={name: values[rows] for name, values in self.looked.values.items()},
            applied={n: values[rows] for n, values in vectors.applied.items() if n not in self.degraded},
            overridden=[*self.given],
            degraded=self.degraded,
        )


def as_objects(values: Values) -> Array:
    """Python values as they are."""
    array = np.empty(len(values), object)
    array[:] = values
    return array
