"""`mlkit predict`: one-off predictions."""

import enum
import sys
from pathlib import Path

import typer

from . import console
from .options import option


class RowFormat(enum.StrEnum):
    """How rows are written."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"


def predict(
    bundle: str = typer.Argument(
        metavar="BUNDLE", help="A bundle's directory, a .mlkit archive, or an MLflow URI."
    ),
    rows: Path = typer.Argument(
        Path("-"), metavar="ROWS", help="A file of rows in JSON, NDJSON or CSV, or - for stdin."
    ),
    format: RowFormat | None = option(None, help="How the rows are written. Default: by content."),  # noqa: A002
) -> None:
    """Predict a few rows, and print the predictions in the format that the rows came in.

    An empty field of CSV is a missing value; in JSON, null is.

    \b
    Example:
      echo '{"origin": "JFK", "dep_delay": 12}' | mlkit predict bundles/eta
    """
    from mlops_kit.errors import UsageError
    from mlops_kit.loading import load
    from mlops_kit.modes.once.rows import format_rows, parse_rows

    if str(rows) == "-" and sys.stdin.isatty():
        console.note('reading rows from the terminal, as in {"column": value}; end with Ctrl-D')
    try:
        data = sys.stdin.buffer.read() if str(rows) == "-" else rows.read_bytes()
    except OSError as error:
        raise UsageError(f"{rows}: cannot be read", error.strerror or str(error), "check the path") from error
    if not data.strip():
        raise UsageError("there are no rows", "the input is empty", "give rows on stdin or name a file")
    predictor = load(bundle)
    parsed = parse_rows(data, predictor.signature, format.value if format else None)
    outputs = predictor.predict_columns(parsed.columns)
    sys.stdout.buffer.write(format_rows(outputs, parsed.format, parsed.is_single))
