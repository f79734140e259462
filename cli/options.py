"""What the options of all commands share."""

import os
import re
from functools import partial
from urllib.parse import urlsplit

import typer

from mlops_kit.errors import UsageError

option = partial(typer.Option, show_envvar=False)
"""An option whose environment variable, MLKIT_COMMAND_OPTION, the README tells once, not every help line."""


def environment_password() -> str:
    """The password of the server that predictions are stored in; secrets never come as flags."""
    return os.environ.get("MLKIT_PASSWORD", "")


def typed_names(context: typer.Context) -> set[str]:
    """The parameters that were given on the command line, and not by a setting or the environment."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def refuse_passwords(context: typer.Context, *names: str) -> None:
    """Raise UsageError for a URL with a password that stands on the command line, where others can read it."""
    for name in typed_names(context).intersection(names):
        if _has_password(context.params[name]):
            why = "everybody on this machine can see it in the list of processes"
            raise UsageError(
                "there is a password on the command line", why, "leave it out, and set MLKIT_PASSWORD"
            )


def parse_size(text: str) -> int:
    """Bytes. Raises UsageError for what is no size.

    >>> parse_size("512MB"), parse_size("1.5 GiB")
    (512000000, 1610612736)
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?) *(?:([kmgt])(i?)b|b)?", text.strip().lower())
    size = 0
    if match:
        number, prefix, binary = match.groups()
        size = int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix or " "))
    if not size:
        raise UsageError(f"{text!r} is no size", fix="write it as 512MB or 2GB")
    return size


def _has_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # whoever reads the URL tells what is wrong with it
        return False
    return parts.password is not None or "password" in parts.query.lower()
