"""What a framework's `exporter.py` must provide: the four functions of `Exporter`.

`resolve.py` lists the modules and picks the one that recognises a model. `export.py` then runs the same
steps for all of them: adapt, convert, compare with the original on the sample and on made-up rows, write.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import onnx

from mlops_kit.schema import Column, Columns, Signature


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows like those that the model was trained on, without the target.

    `unsupported` has the dtypes of the columns that no model can take, such as timestamps; a model that needs
    one of them is refused, and one that does not is not bothered.
    """

    columns: Columns
    unsupported: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversion:
    """One ONNX form of the model. `variant` says what distinguishes it, as in "float64 inputs"."""

    graph: onnx.ModelProto
    signature: Signature
    variant: str


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A model of any framework, as the export steps see it."""

    framework: str
    """The framework's name as its users write it: "scikit-learn"."""

    versions: Mapping[str, str]
    """Distribution name → version, of the framework and of the converter."""

    description: str
    """The model in one line: "Pipeline(ColumnTransformer, HistGradientBoostingRegressor)"."""

    columns: tuple[Column, ...]
    """Inputs in the model's own order. `nullable` means that nulls may be tried: export probes whether the
    original takes them and narrows it."""

    reference: Callable[[Columns], Columns]
    """Runs the original framework. Takes and gives columns by name, as the conversion's signature has them;
    raises whatever the framework raises on rows that it refuses."""

    conversions: Callable[[], Iterator[Conversion]]
    """The ONNX forms to try, the most faithful first. The first that the runtime loads and that passes the
    parity check is taken. Raises ConversionError where there is none."""


class Exporter(Protocol):
    """The functions of a framework's module. Only `adapt` and `read` may import the framework."""

    def recognises(self, model: object) -> bool:
        """Whether `model`, an object in memory, is of this framework."""

    def recognises_file(self, path: Path, head: bytes) -> bool:
        """Whether a file that begins with `head` (up to 4096 bytes) is this framework's native format."""

    def read(self, path: Path) -> object:
        """Read the native file into the object that `adapt` takes. Raises SourceError; executes nothing."""

    def adapt(self, model: object, sample: Sample | None) -> SourceModel:
        """Look at the model and the sample. Raises SampleError or MissingColumnsError where they do not fit."""
