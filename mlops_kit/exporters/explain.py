"""What export says about the rows that it made up."""

from collections.abc import Iterator

from mlops_kit.errors import InputError
from mlops_kit.exporters.probes import Probes
from mlops_kit.predictor import Predictor


def refusal_notes(refused: Probes, predictor: Predictor) -> Iterator[str]:
    """A note for every made-up row that the original refuses and the exported model answers.

    Missing values are left out, because the signature refuses them.
    """
    for index, probe in enumerate(refused.probes):
        if probe.kind == "missing":
            continue
        try:
            predictor.predict_columns(refused.select([index]).rows)
        except InputError:
            continue
        yield f"the original refuses {words_of(probe.kind)} in {probe.column!r}; the exported model answers"


def words_of(kind: str) -> str:
    """A probe's kind in words."""
    words = {"unseen": "an unseen category", "zero": "zero", "missing": "a missing value"}
    return words.get(kind, f"values {kind} the sample's range")
