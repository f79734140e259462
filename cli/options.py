"""Options whose environment variable, MLKIT_COMMAND_OPTION, the README tells once, rather than every help line."""

from functools import partial

import typer

option = partial(typer.Option, show_envvar=False)
