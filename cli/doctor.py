"""`mlkit doctor`: is this machine ready."""

import sys

import typer

from . import console
from .options import option

MARKS = {"ok": ("ok", "32"), "missing": ("--", "33"), "problem": ("!!", "31")}


def doctor(json: bool = option(False, "--json", help="Print one JSON document.")) -> None:
    """Look at what mlkit depends on, and say how to mend what is wrong.

    Exits with 1 if something needs mending; an extra that is not installed does not count.

    \b
    Example:
      mlkit doctor
    """
    from dataclasses import asdict

    from mlops_kit.diagnosis import diagnose

    verdicts = diagnose()
    is_ready = all(verdict.level != "problem" for verdict in verdicts)
    if json:
        console.print_json({"is_ready": is_ready, "verdicts": [asdict(verdict) for verdict in verdicts]})
    else:
        width = max(len(verdict.subject) for verdict in verdicts)
        for verdict in verdicts:
            mark = console.styled(*MARKS[verdict.level], sys.stdout)
            fix = f"  → {verdict.fix}" if verdict.fix else ""
            console.print_line(f"{mark}  {verdict.subject:<{width}}  {verdict.found}{fix}")
    if not is_ready:
        raise typer.Exit(1)
