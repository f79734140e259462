"""Which features of a definition go into the bundle: those that are columns of the model."""

from collections.abc import Sequence

from mlops_kit.bundle.features import unfit_features
from mlops_kit.errors import UsageError, listed, suggestion
from mlops_kit.features.definition.compilation import keep_features
from mlops_kit.features.definition.feature_set import FeatureSet
from mlops_kit.schema import Column


def choose_features(features: FeatureSet, columns: Sequence[Column]) -> FeatureSet:
    """The features that have the names of columns. Raises UsageError if there are none, or one of another type."""
    names = {column.name for column in columns}
    defined = [feature.name for feature in features.features]
    if not names.intersection(defined):
        fix = suggestion(defined, sorted(names)) or "train the model on what mlkit features join gives"
        why = f"the model takes {listed([column.name for column in columns])}"
        raise UsageError(f"none of the features {listed(defined)} is a column of the model", why, fix)
    if unfit := unfit_features(features, columns):
        feature, column = unfit[0]
        what = f"{column.dtype} values of shape {column.shape}" if column.shape else column.dtype
        raise UsageError(
            f"feature {feature.name!r} is {feature.kind}",
            f"the model's column {column.name!r} takes {what}",
            "rename the feature, or train the model on what mlkit features join gives",
        )
    return keep_features(features, names)


def left_out(features: FeatureSet, chosen: FeatureSet) -> tuple[str, ...]:
    """The names of those that were not chosen."""
    kept = {feature.name for feature in chosen.features}
    return tuple(feature.name for feature in features.features if feature.name not in kept)


def unfilled(features: FeatureSet, columns: Sequence[Column]) -> tuple[str, ...]:
    """The names of features that may be null where the model takes no missing value."""
    strict = {column.name for column in columns if not column.nullable}
    return tuple(
        feature.name
        for feature in features.features
        if feature.default is None and feature.name in strict - features.counts
    )
