"""Log lines on stderr, for people or as JSON: one line each, without anything that a request had in it."""

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime

from mlops_kit.modes.online.log_format import LogFormat

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What would begin another line, or move the cursor of whoever reads it."""

MOST_PLACES = 12
"""Of a traceback, from the innermost on."""


def set_up_logging(form: LogFormat) -> None:
    """On stderr, in place of what was set up before.

    What a line is given as `extra={"facts": {…}}` are fields of their own in JSON; its text says the same.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if form is LogFormat.json else _TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Uvicorn tells of every start and stop in lines of its own.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Time, level, process, message."""
        error = _error_of(record)
        origin = f": {_origin(error)}" if error else ""
        return _one_line(
            f"{self.formatTime(record)} {record.levelname} {record.process} {_message(record)}{origin}"
        )


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "process": record.process,
            "message": _message(record),
            **getattr(record, "facts", {}),
        }
        if error := _error_of(record):
            document["exception"] = _origin(error)
        return _one_line(json.dumps(document, ensure_ascii=False))


def _error_of(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _message(record: logging.LogRecord) -> str:
    """Its first line, where it tells of an exception: libraries show below what they had in their hands."""
    message = record.getMessage()
    return message.partition("\n")[0] if record.exc_info else message


def _origin(error: BaseException) -> str:
    """Where an exception comes from, but not what it says, which may be a value of a request."""
    frames = list(traceback.walk_tb(error.__traceback__))[: -MOST_PLACES - 1 : -1]
    places = " < ".join(f"{frame.f_globals.get('__name__')}:{line}" for frame, line in frames)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{type(error).__name__} at {places}" + (f", after {_origin(cause)}" if cause else "")


def _one_line(text: str) -> str:
    """Escaped as JSON does it."""
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
