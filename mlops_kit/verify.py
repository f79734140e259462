"""Is a bundle intact, and does it still give the golden answers? Other rows can be checked, too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_kit.errors import MissingColumnsError, UsageError
from mlops_kit.frames import columns_of, read_frame
from mlops_kit.loading import load
from mlops_kit.parity import Comparison, check_goldens, check_tolerance, compare
from mlops_kit.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Check:
    """Some rows, asked again and compared."""

    comparison: Comparison
    tolerance: float

    @property
    def is_good(self) -> bool:
        """Whether every answer is within the tolerance."""
        return self.comparison.is_within(self.tolerance)

    def describe(self) -> str:
        """The result in one line."""
        rows, error = len(self.comparison.errors), self.comparison.largest_error
        if self.is_good:
            return f"{rows} rows answered as before, largest error {error:.2g}"
        differing = int((self.comparison.errors > self.tolerance).sum())
        return (
            f"{differing} of {rows} rows DIFFER, worst {self.comparison.worst_output!r} of row "
            f"{self.comparison.worst_row}, largest error {error:.2g}, "
            f"flipped labels {self.comparison.flipped_labels}, tolerance {self.tolerance:.2g}"
        )

    def to_json(self) -> dict[str, Any]:
        """The facts of `describe`."""
        return {
            "rows": len(self.comparison.errors),
            "is_good": self.is_good,
            "largest_error": self.comparison.largest_error,
            "worst_output": self.comparison.worst_output,
            "worst_row": self.comparison.worst_row,
            "flipped_labels": self.comparison.flipped_labels,
            "tolerance": self.tolerance,
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """A bundle that was found intact, and what its answers were like."""

    digest: str
    files: int
    goldens: Check
    data: Check | None

    @property
    def is_good(self) -> bool:
        """Whether all answers agree."""
        return self.goldens.is_good and (self.data is None or self.data.is_good)

    def to_json(self) -> dict[str, Any]:
        """One document with everything."""
        return {
            "digest": self.digest,
            "files": self.files,
            "is_good": self.is_good,
            "goldens": self.goldens.to_json(),
            "data": None if self.data is None else self.data.to_json(),
        }


def verify_bundle(
    reference: str | Path, data: Path | None = None, prediction: str = "prediction", tolerance: float | None = None
) -> Verification:
    """Check a bundle's files, ask its golden rows again, and compare other rows with a prediction column.

    Raises BundleError if the bundle is damaged, InputError if `data` does not fit.
    """
    if tolerance is not None:
        check_tolerance(tolerance)
    predictor = load(reference)
    bundle = predictor.bundle
    if bundle is None:
        raise UsageError(f"{reference} is not a bundle")
    limit = bundle.manifest.parity.tolerance if tolerance is None else tolerance
    goldens = Check(check_goldens(predictor), limit)
    other = None if data is None else _check_data(predictor, data, prediction, limit)
    return Verification(bundle.digest, len(bundle.manifest.files), goldens, other)


def _check_data(predictor: Predictor, data: Path, prediction: str, tolerance: float) -> Check:
    columns, _ = columns_of(read_frame(data))
    if prediction not in columns:
        raise MissingColumnsError([prediction], columns)
    outputs = predictor.predict_columns(columns)
    output = prediction if prediction in outputs else next(iter(outputs))
    return Check(compare({output: columns[prediction]}, outputs, tolerance), tolerance)
