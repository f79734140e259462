"""What to say where a disk does not take what is written."""

import errno
import os
from pathlib import Path

from mlops_kit.errors import StoreError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of errors that only writing meets."""


def disk_failure(place: Path, error: Exception) -> StoreError:
    """What to raise instead of an OSError, or of what PyArrow makes of one."""
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else str(error).split("\n", 1)[0]
    fix = "make room, and run the same command again: what is finished is kept"
    return StoreError(f"{place}: cannot be written", reason, fix)
