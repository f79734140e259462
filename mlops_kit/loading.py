"""From a reference to a model that answers."""

from pathlib import Path

from mlops_kit.bundle.locate import load_bundle
from mlops_kit.predictor import Predictor


def load(reference: str | Path) -> Predictor:
    """Load a bundle: a directory, a `.mlkit` archive, or an MLflow URI such as `models:/eta@champion`.

    Every file is checked against the manifest first. Raises BundleError if the bundle is damaged or hostile,
    UsageError if the registry does not have it.
    """
    return Predictor.of_bundle(load_bundle(reference))
