"""`mlkit inspect`: what is in a bundle."""

from typing import TYPE_CHECKING

import typer

from . import console
from .options import option

if TYPE_CHECKING:
    from rich.table import Table

    from mlops_kit.bundle.manifest import Manifest, Parameters
    from mlops_kit.features.definition.feature_set import FeatureSet


def inspect(
    bundle: str = typer.Argument(
        metavar="BUNDLE", help="A bundle's directory, a .mlkit archive, or an MLflow URI."
    ),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Show what a bundle takes and gives, where it came from, and where its parameters are.

    \b
    Example:
      mlkit inspect bundles/eta
    """
    from mlops_kit.bundle.locate import load_bundle

    found = load_bundle(bundle)
    manifest = found.manifest
    if json:
        import json as codec

        from mlops_kit.features.definition.frozen import freeze

        features = None if found.features is None else codec.loads(freeze(found.features))
        console.print_json({"digest": found.digest, **codec.loads(manifest.to_bytes()), "features": features})
        return
    facts = {
        "name": manifest.name,
        "digest": found.digest,
        "source": f"{manifest.source.framework}: {manifest.source.description}",
        "versions": ", ".join(f"{name} {version}" for name, version in manifest.source.versions.items()),
        "converted": manifest.source.variant,
        "parity": f"{manifest.parity.rows} rows compared, largest error {manifest.parity.largest_error:.2g} "
        f"(tolerance {manifest.parity.tolerance:.2g})",
        "parameters": _where_parameters_are(manifest.parameters),
        "row block": f"{manifest.row_block} (rows are predicted in multiples of it: the same bits in any batch)",
    }
    if found.features:
        facts["keys"] = f"{_keys(found.features)}: what a request must have where features are looked up"
    for name, value in facts.items():
        console.print_line(f"{name:<11}{value}")
    for remark in manifest.parity.notes:
        console.print_line(f"{'note':<11}{remark}")
    _print_tables(manifest, found.features)


def _where_parameters_are(parameters: "Parameters") -> str:
    parts = []
    if parameters.weights_values:
        size = console.human_bytes(parameters.weights_bytes)
        parts.append(f"{parameters.weights_values:,} in {parameters.weights_tensors} tensors ({size})")
    if parameters.attribute_values:
        parts.append(
            f"{parameters.attribute_values:,} inside of graph nodes (trees and linear models keep them there)"
        )
    return "; ".join(parts) or "none"


def _keys(features: "FeatureSet") -> str:
    keys = [*(source.key for source in features.events), *(table.key for table in features.tables)]
    kinds = {part.name: part.kind for key in keys for part in key}
    return ", ".join(f"{name} ({kind})" for name, kind in kinds.items())


def _print_tables(manifest: "Manifest", features: "FeatureSet | None") -> None:
    from rich.table import Table

    columns = Table("input", "dtype", "shape", "missing values", box=None)
    for column in manifest.signature.columns:
        columns.add_row(column.name, column.dtype, _shape(column.shape), "taken" if column.nullable else "refused")
    outputs = Table("output", "dtype", "shape", box=None)
    for output in manifest.signature.outputs:
        outputs.add_row(output.name, output.dtype, _shape(output.shape))
    files = Table("file", "size", "sha256", box=None)
    for entry in manifest.files:
        files.add_row(entry.name, console.human_bytes(entry.size), entry.sha256[:16])
    printer = console.table_console()
    for table in (columns, *([_features_table(features)] if features else []), outputs, files):
        printer.print()
        printer.print(table)


def _features_table(features: "FeatureSet") -> "Table":
    from rich.table import Table
    from rich.text import Text

    from mlops_kit.features.definition.description import describe_feature

    table = Table("feature", "type", "default", "is", box=None)
    for feature in features.features:
        default = "null" if feature.default is None else repr(feature.default)
        default = "0" if feature.name in features.counts else default
        described = describe_feature(feature, features)
        table.add_row(*map(Text, (feature.name, feature.kind, default, described)))
    return table


def _shape(shape: tuple[int | None, ...]) -> str:
    return " × ".join("any" if size is None else str(size) for size in shape)
