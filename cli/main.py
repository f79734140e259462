"""The entry point: registers the commands, and turns errors into text and exit codes.

0 done · 1 it ran and the answer is no · 2 could not run · 101 a bug in mlkit · 130 interrupted · 143 terminated ·
141 nobody reads stdout any more.
"""

import gc
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

import typer

from mlops_kit.errors import MlkitError, ParityError, UnfitRowsError

from . import console
from .batch_predict import batch_predict
from .bench import BenchCommand
from .bench.run import bench
from .doctor import doctor
from .export import export
from .features import app as features
from .init import init
from .inspect import inspect
from .interrupts import Interrupts
from .lookup import lookup
from .predict import predict
from .serve import serve
from .settings import Settable, read_settings
from .verify import verify

INTERRUPTED, TERMINATED, UNREAD = 130, 143, 141

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

app = typer.Typer(
    name="mlkit",
    help="One trained model, exported once, run in every prediction mode.",
    epilog="Start with: mlkit init eta",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    context_settings=CONTEXT | {"auto_envvar_prefix": "MLKIT"},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from mlops_kit import __version__

        console.print_line(f"mlkit {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    version: bool = typer.Option(
        False,
        "--version",
        show_envvar=False,
        allow_from_autoenv=False,
        help="Print the version.",
        is_eager=True,
        callback=_print_version,
    ),
) -> None:
    """One trained model, exported once, run in every prediction mode."""
    context.default_map = read_settings(Settable(commands=_settable(context.command).commands))


def _settable(command: Any) -> Settable:
    parameters = {each.name: getattr(each, "multiple", False) or each.nargs == -1 for each in command.params}
    further = getattr(command, "commands", {})
    return Settable(parameters, {name: _settable(each) for name, each in further.items()})


for command in (init, export, inspect, verify, predict, batch_predict, lookup, serve):
    app.command(context_settings=CONTEXT)(command)
app.command(context_settings=CONTEXT, cls=BenchCommand)(bench)
app.command(context_settings=CONTEXT)(doctor)
app.add_typer(features, name="features")


def run() -> NoReturn:
    """Run the command line and exit with the code that the outcome has."""
    signal.signal(signal.SIGTERM, _terminate)
    interrupts = Interrupts()
    console.fill_closed_descriptors()
    try:
        code = app(standalone_mode=False)
        console.flush()
        if code == INTERRUPTED:
            console.note("interrupted")
    except BaseException as error:  # noqa: BLE001 - the edge: every outcome becomes a code
        if os.environ.get("MLKIT_DEBUG") and not isinstance(error, (typer.TyperException, SystemExit)):
            traceback.print_exception(error)
        is_interrupted = interrupts.has_come and not isinstance(error, SystemExit)
        code = _report(KeyboardInterrupt() if is_interrupted else error)
    if code in (INTERRUPTED, TERMINATED):
        # A signal may have come just before a `with` block began; what it was to clean up is cleaned up here.
        gc.collect()
    sys.exit(code if isinstance(code, int) else 0)


def _terminate(_signal: int, _frame: object) -> NoReturn:
    """Leave as on Ctrl-C, so that what is half done is cleaned up."""
    raise SystemExit(TERMINATED)


def _report(error: BaseException) -> int:
    match error:
        case BrokenPipeError() | SystemExit(__context__=BrokenPipeError()):
            console.forget_stdout()
            return UNREAD
        case SystemExit():
            return error.code if isinstance(error.code, int) else 1
        case typer.TyperException():
            _show_usage_error(error)
            return 2
        case typer.Abort() | KeyboardInterrupt():
            console.note("interrupted")
            return INTERRUPTED
        case MlkitError():
            console.print_error(error.what, error.why, error.fix)
            return 1 if isinstance(error, (ParityError, UnfitRowsError)) else 2
        case OSError():
            console.print_error(
                f"{error.filename or 'the disk'}: {error.strerror or error}", fix="check that place"
            )
            return 2
        case _:
            kind = type(error).__name__
            console.print_error(
                f"a bug in mlkit: {kind}: {error}", fix="run again with MLKIT_DEBUG=1 and report what it prints"
            )
            return 101


def _show_usage_error(error: typer.TyperException) -> None:
    """Typer's own message knows the command and points to its --help."""
    show = getattr(error, "show", None)
    if callable(show):
        show()
        if "unexpected extra argument" in str(error):
            console.note("  try: if that came of a pattern such as *.parquet, put it into quotes")
    else:
        console.print_error(str(error), fix="mlkit --help")
