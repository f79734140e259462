"""`mlkit batch-predict`: score everything that is stored, and publish the answers all at once."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlops_kit.errors import StoppedError, UsageError

from . import console
from .options import environment_password, option, parse_size, refuse_passwords

if TYPE_CHECKING:
    from mlops_kit.modes.batch.job import BatchJob, BatchReport


READING = "reading"
"""The stage of which nothing is kept: a signal ends it at once."""


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
    keep: str = option("", help="Columns of the input to pass through, separated by commas."),
    key: str = option("", help="Columns by which predictions are looked up; they are passed through, too."),
    where: str = option("", help="Predict only the rows that meet this SQL condition."),
    sql: str = option("", help="Predict the rows of this query: in INPUT's database, or without INPUT in DuckDB."),
    memory: str = option("512MB", help="Memory that DuckDB may take for a query, before it spills to disk."),
    errors: str = option("", help="Where bad rows go, a Parquet file; or fail, to stop at the first."),
    max_bad_rows: float = option(0.01, min=0, max=1, help="Publish nothing if a larger share of rows is bad."),
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
    aside with the reason.

    \b
    Example:
      mlkit batch-predict bundles/eta data/2013-12.parquet \\
        --out predictions --keep time,carrier,flight
      mlkit batch-predict bundles/eta --out predictions \\
        --sql "SELECT * FROM 'data/*.parquet' JOIN 'weather.csv' USING (hour)"
    """
    refuse_passwords(context, "input", "out", "rollback")
    if rollback:
        if bundle or input or out:
            raise UsageError("--rollback takes nothing but OUTPUT", fix="mlkit batch-predict --rollback OUTPUT")
        _roll_back(rollback, json=json)
        return
    from mlops_kit.modes.batch.job import BatchJob

    _require(BUNDLE=bundle, INPUT=input or sql, **{"--out": out})
    if json and out == "-":
        raise UsageError("--json and --out - both write to stdout", fix="leave out one of them")
    if keep_generations < 1:
        raise UsageError("--keep-generations 0", "the current one must stay", "give at least 1")
    job = BatchJob(
        bundle=bundle,
        input=input,
        out=out,
        keep=_names(keep),
        key=_names(key),
        where=where or None,
        sql=sql,
        memory_bytes=parse_size(memory),
        errors=Path(errors) if errors and errors != "fail" else None,
        stops_at_bad_row=errors == "fail",
        most_bad=max_bad_rows,
        engine=engine,
        master=master,
        threads=threads,
        fresh=fresh,
        keep_generations=keep_generations,
        work=work,
        password=environment_password(),
    )
    _show(_run(job), json=json)


def _require(**values: str) -> None:
    for name, value in values.items():
        if not value:
            raise UsageError(f"{name} is missing", fix="mlkit batch-predict BUNDLE INPUT --out OUTPUT")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _run(job: "BatchJob") -> "BatchReport":
    from mlops_kit.modes.batch.run import run_batch

    with _Watching() as watching:
        try:
            return run_batch(job, watching)
        except StoppedError as error:
            if watching.signal is None:
                raise
            console.note(f"{error.what}: {error.why}; {error.fix}")
            raise SystemExit(128 + watching.signal) from error


class _Watching:
    """A progress bar for each stage; and the first Ctrl-C or SIGTERM asks the run to stop, the second ends it."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._stage = ""
        self._bar: Any = None
        self._progress: Any = None
        self._task: Any = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Watching":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stage(self, name: str, total_rows: int | None) -> None:
        """Another bar."""
        self._close()
        self._stage = name
        self._bar = console.progress_bar(name, total_rows)
        self._progress, self._task = self._bar.__enter__()

    def advance(self, rows: int) -> None:
        """The bar grows."""
        self._progress.advance(self._task, rows)

    def should_stop(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None

    def _note(self, number: int, frame: object) -> None:
        if self.signal is not None or self._stage == READING:
            self.signal = number
            handler = self._before[number]
            handler(number, frame)
        self.signal = number
        console.note("finishing what is running; once more to stop at once")

    def _close(self) -> None:
        if self._bar:
            self._bar.__exit__(None, None, None)
            self._bar = None


def _show(report: "BatchReport", *, json: bool) -> None:
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
            }
        )
        return
    if report.out != "-":
        console.print_line(report.out)
    if not report.is_new:
        console.note(f"nothing to do: {report.generation} has these predictions already ({report.rows:,} rows)")
        return
    units = f", {report.units_skipped} of {report.units} units were finished before"
    skipped = units if report.units_skipped else ""
    console.note(f"{report.rows:,} rows in {report.seconds:.2f} s ({report.rows_per_s:,.0f} rows/s){skipped}")
    if report.bad_rows:
        console.note(f"{report.bad_rows:,} bad rows are in {report.errors}")


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
