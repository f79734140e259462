"""From what people wrote to one definition, and from that to a part of it."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from mlops_kit.errors import UsageError
from mlops_kit.features.definition.expressions import parse_condition
from mlops_kit.features.definition.feature_set import EventSource, FeatureSet, Field, TableSource
from mlops_kit.features.definition.sources import TableFeatures, WindowFeatures
from mlops_kit.features.definition.validity import check_feature_set

Definition = WindowFeatures | TableFeatures


def feature_set(definitions: Sequence[Definition]) -> FeatureSet:
    """All features of a list of definitions, and of their sources the columns that they use.

    Raises UsageError for two features of one name, different sources of one name, and what no mode computes.
    """
    if not isinstance(definitions, Sequence):
        raise UsageError(f"features are a list, not a {type(definitions).__name__}", fix="write features = [ … ]")
    for place, definition in enumerate(definitions):
        if not isinstance(definition, Definition):
            raise UsageError(
                f"features[{place}] is a {type(definition).__name__}",
                "a feature is an aggregate of a window, or a column of a table",
                "end it with .agg(…) or .select(…)",
            )
    windows = [definition for definition in definitions if isinstance(definition, WindowFeatures)]
    lookups = [definition for definition in definitions if isinstance(definition, TableFeatures)]
    everything = FeatureSet(
        events=tuple(dict.fromkeys(definition.source for definition in windows)),
        tables=tuple(dict.fromkeys(definition.source for definition in lookups)),
        windows=tuple(feature for definition in windows for feature in definition.features),
        lookups=tuple(feature for definition in lookups for feature in definition.features),
    )
    check_feature_set(everything)
    return keep_features(everything, {feature.name for feature in everything.features})


def keep_features(features: FeatureSet, names: Collection[str]) -> FeatureSet:
    """Only the features of these names, and of the sources what they need."""
    windows = tuple(feature for feature in features.windows if feature.name in names)
    lookups = tuple(feature for feature in features.lookups if feature.name in names)
    smaller = FeatureSet(features.events, features.tables, windows, lookups)
    used = {feature.source for feature in smaller.features}
    return replace(
        smaller,
        events=tuple(_narrow_events(source, smaller) for source in features.events if source.name in used),
        tables=tuple(_narrow_table(source, smaller) for source in features.tables if source.name in used),
    )


def _narrow_events(source: EventSource, features: FeatureSet) -> EventSource:
    mine = [feature for feature in features.windows if feature.source == source.name]
    kinds = {field.name: field.kind for field in source.fields}
    used = {feature.column for feature in mine}
    for condition in {feature.condition for feature in mine} - {""}:
        used.update(parse_condition(condition, kinds).columns)
    return replace(source, fields=_only(source.fields, used))


def _narrow_table(source: TableSource, features: FeatureSet) -> TableSource:
    used = {feature.column for feature in features.lookups if feature.source == source.name}
    return replace(source, fields=_only(source.fields, used))


def _only(fields: Sequence[Field], names: Collection[str]) -> tuple[Field, ...]:
    """In the order of their names, so that another order in the files makes no other definition."""
    return tuple(sorted((field for field in fields if field.name in names), key=lambda field: field.name))
