"""What the options of all commands share."""

import os
from functools import partial

import typer

option = partial(typer.Option, show_envvar=False)
"""An option whose environment variable, MLKIT_COMMAND_OPTION, the README tells once, not every help line."""


def environment_password() -> str:
    """The password of the server that predictions are stored in; secrets never come as flags."""
    return os.environ.get("MLKIT_PASSWORD", "")
