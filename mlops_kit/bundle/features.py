"""The features of a bundle: its features.json, checked by itself and against the columns of the model."""

from collections.abc import Sequence
from pathlib import Path

from mlops_kit.bundle.files import read_limited
from mlops_kit.bundle.manifest import Manifest
from mlops_kit.errors import BundleError
from mlops_kit.features.definition.feature_set import Feature, FeatureSet
from mlops_kit.features.definition.frozen import FILE_NAME, MAX_BYTES, read_frozen
from mlops_kit.schema import FLOATS, INTEGERS, Column

DTYPES = {
    "float64": FLOATS,
    "int64": (*INTEGERS, *FLOATS),
    "bool": ("bool", *INTEGERS, *FLOATS),
    "string": ("string",),
}
"""The dtypes of the columns that a feature of each kind can be."""


def read_features(directory: Path, manifest: Manifest) -> FeatureSet:
    """The definition in a bundle. Raises BundleError for one that is damaged or hostile, or has a feature that is
    no column of the model.
    """
    features = read_frozen(read_limited(directory, FILE_NAME, MAX_BYTES))
    columns = manifest.signature.columns
    names = {column.name for column in columns}
    for feature in features.features:
        if feature.name not in names:
            raise BundleError(FILE_NAME, f"{feature.name!r} is no column of the model")
    if unfit := unfit_features(features, columns):
        feature, column = unfit[0]
        raise BundleError(FILE_NAME, f"{feature.name!r} is {feature.kind}, and the model's column {column.dtype}")
    return features


def unfit_features(features: FeatureSet, columns: Sequence[Column]) -> list[tuple[Feature, Column]]:
    """The features that have the name of a column and can never be its values, with that column."""
    by_name = {column.name: column for column in columns}
    pairs = [(feature, by_name[feature.name]) for feature in features.features if feature.name in by_name]
    return [(found, column) for found, column in pairs if column.shape or column.dtype not in DTYPES[found.kind]]
