"""`mlkit batch-predict`: score files."""

from pathlib import Path

import typer

from . import console
from .options import option


def batch_predict(
    bundle: str = typer.Argument(
        metavar="BUNDLE", help="A bundle's directory, a .mlkit archive, or an MLflow URI."
    ),
    input: Path = typer.Argument(metavar="INPUT", help="A Parquet file, or a folder of them."),  # noqa: A002
    out: Path = option(help="The folder to make; it gets a file for each file of INPUT."),
    keep: str = option("", help="Columns of the input to pass through, separated by commas."),
    threads: int | None = option(None, min=1, help="Worker threads. Default: one per processor."),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Predict every row of Parquet files, into Parquet files.

    The output folder appears when everything is written; a run that fails leaves nothing.

    \b
    Example:
      mlkit batch-predict bundles/eta data/2013-12.parquet \\
        --out predictions --keep time,carrier,flight
    """
    from mlops_kit.loading import load
    from mlops_kit.modes.batch.score import count_rows, input_files, score_files

    total = count_rows(input_files(input))
    predictor = load(bundle)
    kept = [name.strip() for name in keep.split(",") if name.strip()]
    with console.progress_bar("predicting", total) as (progress, task):
        result = score_files(
            predictor, input, out, keep=kept, threads=threads, on_rows=lambda rows: progress.advance(task, rows)
        )
    if json:
        console.print_json(
            {
                "out": str(out),
                "files": result.files,
                "rows": result.rows,
                "seconds": round(result.seconds, 3),
                "rows_per_s": round(result.rows_per_s),
                "digest": predictor.bundle.digest if predictor.bundle else None,
            }
        )
        return
    console.print_line(str(out))
    console.note(f"{result.rows:,} rows in {result.seconds:.2f} s ({result.rows_per_s:,.0f} rows/s)")
