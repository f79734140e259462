"""What a program says where a package is not installed."""

import subprocess
import sys
from collections.abc import Sequence


def error_without(packages: Sequence[str], program: str) -> str:
    """In a process of its own: modules that were imported without one stay as they are."""
    missing = dict.fromkeys(packages)
    blocked = f"import sys; sys.modules |= {missing!r}\n{program}"
    return subprocess.run([sys.executable, "-c", blocked], stderr=subprocess.PIPE, text=True, check=False).stderr
