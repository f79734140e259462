"""What is shown and written of a result."""

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_kit.errors import UsageError

from .. import console

if TYPE_CHECKING:
    from mlops_kit.bench.results import BenchResult


def check_folders(*files: Path | None) -> None:
    """Raise UsageError for a file that could not be written: better before measuring than after it."""
    for file in files:
        if file and str(file) != "-" and (file.is_dir() or not file.absolute().parent.is_dir()):
            raise UsageError(f"{file}: cannot be written", "its folder is not there", "make it first")


def write_result(result: "BenchResult", json: Path | None, report: Path | None, *, as_markdown: bool) -> None:
    """Into the files that are wanted, and on stdout as a table, as Markdown or as JSON."""
    from mlops_kit.bench.report.document import encode_result
    from mlops_kit.bench.report.markdown import render_markdown
    from mlops_kit.bench.report.page import render_page

    if report:
        report.write_text(render_page(result), encoding="utf-8")
    if json and str(json) == "-":
        console.print_line(encode_result(result).decode().rstrip())
        return
    if json:
        json.write_bytes(encode_result(result))
    if as_markdown:
        console.print_line(render_markdown(result).rstrip())
    else:
        show_result(result)


def print_document(found: object) -> None:
    """One JSON document on stdout. What is infinite is null: JSON has no such number."""
    import msgspec

    console.print_line(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


def show_result(result: "BenchResult") -> None:
    """A table on stdout; what limits it, on stderr."""
    from rich.table import Table

    from mlops_kit.bench.report.notes import collect_notes
    from mlops_kit.bench.report.rows import HEADS, describe_parity, measurement_cells

    table = Table(*HEADS, box=None)
    for measurement in result.measurements:
        table.add_row(*measurement_cells(measurement, result.price_per_hour))
    console.table_console().print(table)
    if not any(result.parity.mismatches.values()):
        console.print_line(describe_parity(result))
    for note in collect_notes(result):
        console.note(f"note: {note}")
