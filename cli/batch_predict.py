"""`mlkit batch-predict`: score everything that is stored, and publish the answers all at once."""

from collections.abc import Iterable, Set
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mlops_kit.errors import StoppedError, UsageError

from . import console
from .options import environment_password, option, parse_size, refuse_passwords, typed_names
from .watching import Watching

if TYPE_CHECKING:
    from mlops_kit.modes.batch.job import BatchJob, BatchReport


SPARK, FAIL = "spark", "fail"


def batch_predict(
    context: typer.Context,
    bundle: str = typer.Argument(
        "", metavar="BUNDLE", help="A bundle's directory, a .mlkit archive, or an MLflow URI."
    ),
    input: str = typer.Argument(  # noqa: A002
        "",
        metavar="INPUT",
        help="Parquet, CSV or NDJSON: a file, folder or glob; a database's URL; - for Arrow on stdin.",
    ),
    out: str = option("", help="The folder, or the table's URL, to publish to; - for Arrow on stdout."),
    keep: list[str] = option([], help="Columns of the input to pass through: repeated, or separated by commas."),
    key: list[str] = option(
        [],
        help="Columns by which predictions are looked up, given likewise and passed through, too: whole numbers, "
        "text, truth values, dates or times.",
    ),
    where: str = option("", help="Predict only the rows that meet this SQL condition."),
    sql: str = option("", help="Predict the rows of this query: in INPUT's database, or without INPUT in DuckDB."),
    memory: str = option(
        "512MB",
        help="Memory that DuckDB's query, and features, may take before they spill to disk. Nothing else grows "
        "with the rows, and needs a limit.",
    ),
    time: str | None = option(
        None, help="The column of each row's time, for features. Default: the only one of timestamps."
    ),
    errors: str = option("", help="Where bad rows go, a .parquet file; or fail, to stop at the first."),
    max_bad_rows: float = option(
        0.01, min=0, max=1, help="Publish nothing if a larger share of rows is bad: 0.05 is 5 %."
    ),
    allow_empty: bool = option(False, "--allow-empty", help="Publish also if there is no row at all."),
    engine: str = option("local", help="Who predicts: local, or spark."),
    master: str = option(
        "local[*]", help="Spark's master, such as spark://HOST:7077, or a Connect server, sc://HOST."
    ),
    threads: int | None = option(None, min=1, help="Worker threads. Default: one per processor."),
    fresh: bool = option(False, "--fresh", help="Predict everything anew, also what is finished."),
    keep_generations: int = option(2, min=1, help="Generations to keep, the current one counted."),
    work: Path = option(Path(".mlkit/batch"), help="Where runs keep their state if --out is no folder."),
    rollback: str = option("", metavar="OUTPUT", help="Put the generation before the current one back, and end."),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Predict every row of stored data, and publish the answers all at once.

    Readers of OUT/current see the previous generation until the new one is complete. What is
    finished is kept if the run is killed: the same command goes on from there. Bad rows are put
    aside with the reason. Features of the bundle are added as of each row's time, unless the rows
    have them.

    \b
    Example:
      mlkit batch-predict bundles/eta data/2013-12.parquet \\
        --out predictions --keep time,carrier,flight
      mlkit batch-predict bundles/eta --out predictions \\
        --sql "SELECT * FROM 'data/*.parquet' JOIN 'weather.csv' USING (hour)"
    """
    refuse_passwords(context, "input", "out", "rollback")
    typed = typed_names(context)
    if rollback and _is_rollback(typed):
        _roll_back(rollback, json=json)
        return
    from mlops_kit.modes.batch.job import BatchJob

    # What is typed wins over a default that does not go with it.
    if input and sql and not _takes_query(input):
        input = input if "input" in typed or "sql" not in typed else ""  # noqa: A001
        sql = sql if "sql" in typed or "input" not in typed else ""
    threads = None if engine == SPARK and "threads" not in typed else threads
    _require(BUNDLE=bundle, INPUT=input or sql, **{"--out": out})
    _refuse_unheeded(typed, engine)
    if out == "-" and "json" in typed:
        raise UsageError("--json and --out - both write to stdout", fix="leave out one of them")
    job = BatchJob(
        bundle=bundle, input=input, out=out, keep=_names(keep), key=_names(key), where=where or None, sql=sql,
        memory_bytes=parse_size(memory), time=time, errors=Path(errors) if errors and errors != FAIL else None,
        stops_at_bad_row=errors == FAIL, most_bad=max_bad_rows, engine=engine, master=master, threads=threads,
        fresh=fresh, keep_generations=keep_generations, allow_empty=allow_empty, work=work,
        password=environment_password(),
    )  # fmt: skip
    _show(_run(job), json=json and out != "-")


def _takes_query(source: str) -> bool:
    return "://" in source and "table=" not in source


def _is_rollback(typed: Set[str]) -> bool:
    others = typed & {"bundle", "input", "out", "sql"}
    if others and "rollback" in typed:
        raise UsageError("--rollback takes nothing but OUTPUT", fix="mlkit batch-predict --rollback OUTPUT")
    return not others


def _refuse_unheeded(typed: Set[str], engine: str) -> None:
    if "master" in typed and engine != SPARK:
        raise UsageError("--master is for Spark", f"the engine is {engine}", "add --engine spark")


def _require(**values: str) -> None:
    for name, value in values.items():
        if not value:
            raise UsageError(f"{name} is missing", fix="mlkit batch-predict BUNDLE INPUT --out OUTPUT")


def _names(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def _run(job: "BatchJob") -> "BatchReport":
    from mlops_kit.modes.batch.run import run_batch

    with Watching() as watching:
        try:
            return run_batch(job, watching)
        except StoppedError as error:
            if watching.signal is None:
                raise
            console.note(f"{error.what}: {error.why}; {error.fix}")
            raise SystemExit(128 + watching.signal) from error


def _show(report: "BatchReport", *, json: bool) -> None:
    for text in report.notes:
        console.note(text)
    if json:
        console.print_json(
            {
                "out": report.out,
                "generation": report.generation,
                "digest": report.digest,
                "is_new": report.is_new,
                "rows": report.rows,
                "bad_rows": report.bad_rows,
                "errors": str(report.errors) if report.errors else None,
                "units": report.units,
                "units_skipped": report.units_skipped,
                "seconds": round(report.seconds, 3),
                "rows_per_s": round(report.rows_per_s),
                "peak_memory_bytes": report.peak_memory,
                "notes": report.notes,
            }
        )
        return
    if report.out != "-":
        console.print_line(report.out)
    console.note(_summary(report))
    if report.bad_rows and report.is_new:
        rows = "1 bad row is" if report.bad_rows == 1 else f"{report.bad_rows:,} bad rows are"
        console.note(f"{rows} in {report.errors}")


def _summary(report: "BatchReport") -> str:
    if not report.is_new:
        return f"nothing to do: {report.generation} has these predictions already ({report.rows:,} rows)"
    rows, seconds = f"{report.rows:,} rows", f"{report.seconds:.2f} s"
    if report.rows and not report.scored_rows:
        return f"{rows} published in {seconds}; all of them were predicted before"
    earlier = report.rows - report.scored_rows
    kept = f"; {earlier:,} of them were predicted before" if earlier else ""
    return f"{rows} in {seconds} ({report.rows_per_s:,.0f} rows/s){kept}"


def _roll_back(output: str, *, json: bool) -> None:
    from mlops_kit.tables.resolve import open_table, resolve_address

    table = open_table(resolve_address(output), environment_password())
    try:
        published = table.rollback()
    finally:
        table.close()
    if json:
        console.print_json(
            {"generation": published.name, "digest": published.digest, "predicted_at": published.predicted_at,
             "rows": published.rows}
        )  # fmt: skip
        return
    console.print_line(published.name)
    about = f"{published.rows:,} rows, predicted {published.predicted_at}"
    console.note(f"readers see {published.name} again: {about}")
