"""`mlkit verify`: is a bundle intact, and does it still answer as the original did."""

from pathlib import Path

import typer

from . import console
from .options import option


def verify(
    bundle: str = typer.Argument(
        metavar="BUNDLE", help="A bundle's directory, a .mlkit archive, or an MLflow URI."
    ),
    data: Path | None = option(None, help="Check other rows, too: a data file with a column of predictions."),
    prediction: str = option("prediction", help="The column of --data to compare with."),
    tolerance: float | None = option(None, help="The largest relative error. Default: the export's."),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Check every file of a bundle, and that it still gives the golden answers.

    Exits with 1 if an answer differs, with 2 if the bundle is damaged.

    \b
    Example:
      mlkit verify bundles/eta --data scored.parquet --prediction prediction
    """
    from mlops_kit.verify import verify_bundle

    result = verify_bundle(bundle, data, prediction, tolerance)
    if json:
        console.print_json(result.to_json())
    else:
        console.print_line(f"{bundle}  {result.digest}")
        console.print_line(f"files    {result.files} intact")
        console.print_line(f"goldens  {result.goldens.describe()}")
        if result.data is not None:
            console.print_line(f"data     {result.data.describe()}")
    if not result.is_good:
        raise typer.Exit(1)
