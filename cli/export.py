"""`mlkit export`: a trained model becomes a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from . import console
from .options import option

if TYPE_CHECKING:
    from mlops_kit.exporters.export import Exported


def export(
    source: str = typer.Argument(
        metavar="SOURCE",
        help="A model file (ONNX, LightGBM, XGBoost, CatBoost, .pt2, pickle), an importable object such as "
        "train.py:model, or an MLflow URI (runs:/…, models:/…).",
    ),
    out: Path = option(help="The bundle to make: a new directory, or a file ending in .mlkit."),
    sample: Path | None = option(
        None, help="Rows like those that the model was trained on: Parquet, CSV, NDJSON, Arrow or .npz."
    ),
    target: str | None = option(None, help="The sample's column that the model predicts; it is left out."),
    name: str | None = option(None, help="The bundle's name. Default: the name of --out."),
    tolerance: float = option(1e-4, help="The largest relative error that an answer may have."),
    trust_pickle: bool = option(
        False, "--trust-pickle", help="Open a pickle or joblib file, which runs the code inside of it."
    ),
    features: Path | None = option(
        None,
        help="A Python file that defines features; it is run, and those that the model takes are kept.",
    ),
    register: str | None = option(None, help="Register the bundle in MLflow, as models:/NAME."),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Export a trained model into a bundle, and check that it answers as the original does.

    \b
    Example:
      mlkit export train.py:model --sample data/flights.parquet \\
        --target arr_delay --out bundles/eta
    """
    from mlops_kit.exporters.export import export as export_model

    with console.stdout_for_results():
        exported = export_model(
            source,
            out=out,
            sample=sample,
            target=target,
            name=name,
            tolerance=tolerance,
            trust_pickle=trust_pickle,
            register=register,
            features=features,
        )
    if json:
        console.print_json(_document(exported, out))
    else:
        _report(exported, out, register)


def _document(exported: "Exported", out: Path) -> dict[str, Any]:
    parity = exported.bundle.manifest.parity
    return {
        "bundle": str(out),
        "name": exported.bundle.manifest.name,
        "digest": exported.bundle.digest,
        "parity": {"rows": parity.rows, "largest_error": parity.largest_error, "notes": list(parity.notes)},
        "registered_version": exported.registered_version,
        "features": _features(exported),
    }


def _features(exported: "Exported") -> dict[str, list[str]] | None:
    features = exported.bundle.features
    if features is None:
        return None
    return {
        "names": [feature.name for feature in features.features],
        "left_out": list(exported.left_out),
        "unfilled": list(exported.unfilled),
    }


def _report(exported: "Exported", out: Path, register: str | None) -> None:
    source, parity = exported.bundle.manifest.source, exported.bundle.manifest.parity
    console.print_line(f"{out}  {exported.bundle.digest}")
    console.note(
        f"{source.description} ({source.framework}): {parity.rows} rows compared with the original, "
        f"largest error {parity.largest_error:.2g}"
    )
    for remark in parity.notes:
        console.note(f"note: {remark}")
    for remark in _remarks_on_features(exported):
        console.note(f"note: {remark}")
    if exported.registered_version:
        console.note(f"registered as {register}/{exported.registered_version}")


def _remarks_on_features(exported: "Exported") -> list[str]:
    from mlops_kit.errors import listed

    remarks = []
    if exported.left_out:
        remarks.append(f"left out, because they are no columns of the model: {listed(exported.left_out)}")
    if exported.unfilled:
        remarks.append(
            f"without a default, where the model takes no missing value: {listed(exported.unfilled)}; "
            "a row for which they are null is refused"
        )
    return remarks
