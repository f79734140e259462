"""How much memory this process has taken."""

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
"""Linux; https://man7.org/linux/man-pages/man5/proc_pid_status.5.html has its fields."""


def peak_memory() -> int:
    """The most bytes that were ever resident.

    Where there is no /proc this is getrusage's, which begins with what the process that started this one had.
    """
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_memory(process: str = "self") -> int:
    """Bytes that are resident now; 0 where there is no /proc. `process` is a number, or this one."""
    path = Path("/proc") / process / "statm"
    return int(path.read_text().split()[1]) * resource.getpagesize() if path.exists() else 0
