"""`mlkit features join`: a training set as of each row's time."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_kit.errors import MissingExtraError

from .. import console
from ..options import option, parse_size
from .definition import read_features

if TYPE_CHECKING:
    from mlops_kit.features.offline.work import JoinReport


def join(
    features: str = option(help="The Python file that defines the features, or a bundle that has some."),
    spine: Path = option(help="The rows to add features to: Parquet, CSV, NDJSON or Arrow."),
    out: Path = option(help="The Parquet file to write; it is replaced when everything is done."),
    time: str | None = option(None, help="The column of each row's time. Default: the only one of timestamps."),
    memory: str = option("4GB", help="Memory that rows may take, roughly, before they are spilled to disk."),
    json: bool = option(False, "--json", help="Print one JSON document."),
) -> None:
    """Add every feature to rows as of each row's time, so that a model learns from what was known then.

    A window sees the events before that time, and a table gives the row that held at it. Rows keep
    their order and their columns. Histories may be far larger than memory.

    \b
    Example:
      mlkit features join --features features.py --spine labels.parquet --out training.parquet
    """
    try:
        from mlops_kit.features.offline.files import JoinJob, join_file
        from mlops_kit.features.offline.work import Resources
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "numba", "features", "mlkit features join") from error

    job = JoinJob(read_features(features), spine, out, time)
    with _Bars() as bars:
        report = join_file(job, Resources(out.parent, parse_size(memory), progress=bars))
    _show(report, job.out, json=json)


class _Bars(ExitStack):
    """A bar for each stage of the work, one after the other."""

    _bar: Any = None

    def stage(self, name: str, total: int) -> None:
        """Another one."""
        self.close()
        self._bar = self.enter_context(console.progress_bar(name, total))

    def advance(self, rows: int) -> None:
        """It grows."""
        progress, task = self._bar
        progress.advance(task, rows)


def _show(report: "JoinReport", out: Path, *, json: bool) -> None:
    for warning in report.warnings:
        console.note(warning)
    if json:
        document = {
            "out": str(out),
            "rows": report.rows,
            "events_read": report.events_read,
            "refused": report.refused,
            "spilled_bytes": report.spilled_bytes,
            "seconds": round(report.seconds, 3),
        }
        console.print_json(document)
        return
    console.print_line(str(out))
    console.note(f"{report.rows:,} rows, {report.events_read:,} events read, in {report.seconds:.2f} s")
