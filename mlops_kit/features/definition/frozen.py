"""features.json: a definition as a file, in one way of writing. Reading executes nothing and trusts nothing."""

import json
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Final

import msgspec

from mlops_kit.errors import BundleError, UsageError
from mlops_kit.features.definition.compilation import keep_features
from mlops_kit.features.definition.feature_set import (
    EventSource,
    FeatureSet,
    TableFeature,
    TableSource,
    WindowFeature,
)
from mlops_kit.features.definition.validity import check_feature_set

FILE_NAME: Final = "features.json"
FORMAT: Final = 1
MAX_BYTES: Final = 4 * 2**20


@dataclass(frozen=True, slots=True)
class _Document:
    format: int
    events: tuple[EventSource, ...]
    tables: tuple[TableSource, ...]
    windows: tuple[WindowFeature, ...]
    lookups: tuple[TableFeature, ...]


def freeze(features: FeatureSet) -> bytes:
    """The file's exact bytes. What has its default value is not written, so that what a later version adds changes
    nothing about older files. Raises UsageError if it is too large.
    """
    document = _Document(FORMAT, features.events, features.tables, features.windows, features.lookups)
    text = json.dumps(_plain(document), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    data = text.encode() + b"\n"
    if len(data) > MAX_BYTES:
        raise UsageError(f"the features take {len(data):,} bytes", f"{FILE_NAME} has at most {MAX_BYTES:,}")
    return data


def read_frozen(data: bytes) -> FeatureSet:
    """Read and check a file that nobody vouches for. Raises BundleError with the reason."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BundleError(FILE_NAME, f"it is not valid JSON ({error})") from error
    version = found.get("format") if isinstance(found, dict) else type(found).__name__
    if type(version) is not int or version != FORMAT:
        why = f"format {str(version)[:20]!r}, and this mlkit reads format {FORMAT}"
        raise BundleError(FILE_NAME, why, "export again, or upgrade mlkit")
    try:
        document = msgspec.convert(found, _Document)
        features = FeatureSet(document.events, document.tables, document.windows, document.lookups)
        check_feature_set(features)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BundleError(FILE_NAME, f"a field is missing or of the wrong type ({error})") from error
    except UsageError as error:
        raise BundleError(FILE_NAME, ". ".join(filter(None, (error.what, error.why)))) from error
    names = {feature.name for feature in features.features}
    if keep_features(features, names) != features:
        raise BundleError(FILE_NAME, "it has sources or columns that no feature uses")
    if freeze(features) != data:
        raise BundleError(FILE_NAME, "it is not as mlkit writes it, so something in it is not understood")
    return features


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if not is_dataclass(value):
        return value
    pairs = [(field, getattr(value, field.name)) for field in fields(value)]
    return {
        field.name: _plain(found) for field, found in pairs if field.default is MISSING or found != field.default
    }
