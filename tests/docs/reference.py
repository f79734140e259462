"""The command reference of the README, written from `--help`. `make docs` writes it, a test compares it."""

import os
import subprocess
import sys
from pathlib import Path

BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"
FEATURES = tuple(f"features {word}" for word in ("join", "materialize", "push", "get", "check"))
BENCH = ("bench", "bench advise", "bench compare")
COMMANDS = (
    "init", "export", "inspect", "verify", "predict", "batch-predict", "lookup", "serve", *FEATURES, *BENCH, "doctor",
)  # fmt: skip


def render_reference() -> str:
    """Markdown with the help text of every command."""
    parts = [f"### mlkit {command}\n\n```text\n{_help_of(command)}\n```\n" for command in COMMANDS]
    return "\n".join(parts)


def replace_reference(readme: str) -> str:
    """The README with the reference written anew."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{render_reference()}\n{END}{after}"


def _help_of(command: str) -> str:
    program = "import sys; sys.argv[0] = 'mlkit'; from mlops_kit_cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", program, *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"},
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(replace_reference(path.read_text()))
