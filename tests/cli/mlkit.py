"""Run the installed command as people do: in its own process."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-c", "from mlops_kit_cli.main import run; run()"]


def mlkit(*words: object, stdin: str | bytes = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The finished process, with stdout and stderr as text."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        input=stdin.decode() if isinstance(stdin, bytes) else stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | environment,
    )


def tree(directory: Path) -> list[str]:
    """Everything below a directory, to see that nothing changed."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
