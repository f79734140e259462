"""What a feature is, in a line for people."""

from mlops_kit.features.definition.durations import format_duration
from mlops_kit.features.definition.feature_set import Feature, FeatureSet, KeyField, WindowFeature


def describe_feature(feature: Feature, features: FeatureSet) -> str:
    """As in "mean(dep_delay) of departures by origin, last 1h, where carrier = 'B6'"."""
    by = next(_by(source.key) for source in features.sources if source.name == feature.source)
    if not isinstance(feature, WindowFeature):
        return f"{feature.column} of {feature.source} {by}"
    asked = ", ".join(filter(None, (feature.column, str(feature.k or ""))))
    parts = [f"{feature.aggregation}({asked}) of {feature.source} {by}"]
    parts.append(f"last {format_duration(feature.window_us)}")
    if feature.hop_us:
        parts.append(f"hop {format_duration(feature.hop_us)}")
    if feature.condition:
        parts.append(f"where {feature.condition}")
    if feature.include_current:
        parts.append("with the current event")
    return ", ".join(parts)


def _by(key: tuple[KeyField, ...]) -> str:
    return "by " + ", ".join(field.name for field in key)
