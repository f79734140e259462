"""`mlkit features get`: one vector."""

from typing import TYPE_CHECKING, Any

import typer

from mlops_kit.errors import UsageError, listed, suggestion

from .. import console
from ..options import option, refuse_passwords
from .definition import DEFINITION, STORE, need_kernel, opened_store, parse_time, read_features, show_time

if TYPE_CHECKING:
    from mlops_kit.features.definition.feature_set import FeatureSet, KeyField
    from mlops_kit.features.online.vectors import Vectors


def get(
    context: typer.Context,
    features: str = DEFINITION,
    store: str = STORE,
    key: list[str] = option(help="A part of the key, as in origin=JFK; once for each."),
    at: str = option("", help="As of when. Default: now."),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Show what a store has for a key: each feature's value, how old it is, and its source.

    \b
    Example:
      mlkit features get features.py --store sqlite:///features.db --key origin=JFK
    """
    refuse_passwords(context, "store")
    need_kernel("get")
    import numpy as np

    from mlops_kit.features.online.vectors import FeatureReader

    definition, at_us = read_features(features), parse_time(at)
    columns = {name: np.array([value], object) for name, value in _parse_keys(key, definition).items()}
    with opened_store(store) as opened:
        vectors = FeatureReader(definition, opened).read(columns, np.array([at_us]), with_current=False)
    vectors.refuse_too_old()
    document = _document(definition, vectors, at_us)
    if json:
        console.print_json(document)
    else:
        _show(document)


def _parse_keys(texts: list[str], features: "FeatureSet") -> dict[str, Any]:
    keys = [*(source.key for source in features.events), *(source.key for source in features.tables)]
    fields = {field.name: field for key in keys for field in key}
    found: dict[str, Any] = {}
    for text in texts:
        name, is_pair, value = text.partition("=")
        if not is_pair or name not in fields:
            written = name if name in fields else next(iter(fields))
            fix = ("" if name in fields else suggestion([name], list(fields))) or f"write --key {written}=VALUE"
            raise UsageError(f"{text!r} is no part of a key", f"there are {listed(list(fields))}", fix)
        found[name] = _parse_value(value, fields[name])
    if missing := [name for name in fields if name not in found]:
        raise UsageError(f"a part of the key is missing: {listed(missing)}", fix=f"add --key {missing[0]}=VALUE")
    return found


def _parse_value(text: str, field: "KeyField") -> Any:
    if field.kind == "string":
        return text
    values: dict[str, Any] = {"true": True, "false": False}
    if field.kind == "int64" and text.removeprefix("-").isdecimal():
        return int(text)
    if field.kind == "bool" and text in values:
        return values[text]
    expected = "a whole number" if field.kind == "int64" else "true or false"
    raise UsageError(f"--key {field.name}: not {expected}", f"the key is {field.kind}", f"give {expected}")


def _document(features: "FeatureSet", vectors: "Vectors", at_us: int) -> dict[str, Any]:
    return {
        "at": show_time(at_us),
        "features": {
            feature.name: {
                "value": _plain(vectors.values[feature.name]),
                "source": feature.source,
                "age_s": None
                if vectors.is_missing[feature.source][0] or vectors.age_us[feature.source][0] < 0
                else int(vectors.age_us[feature.source][0]) / 1e6,
            }
            for feature in features.features
        },
        "missing": [name for name, mask in vectors.is_missing.items() if mask[0]],
        "applied": {name: int(numbers[0]) for name, numbers in vectors.applied.items() if numbers[0] >= 0},
    }


def _plain(values: Any) -> Any:
    value = values.tolist()[0]
    return None if isinstance(value, float) and value != value else value


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("feature", "value", "age", "source"):
        table.add_column(name, justify="right" if name in ("value", "age") else "left")
    for name, found in document["features"].items():
        value = "-" if found["value"] is None else str(found["value"])
        table.add_row(name, value, _age(found["age_s"]), found["source"])
    console.table_console().print(table)
    for name in document["missing"]:
        console.note(f"{name} does not know this key")


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
