"""Log lines on stderr, for people or as JSON."""

import json
import logging
import sys
from datetime import UTC, datetime

from mlops_kit.modes.online.log_format import LogFormat

TEXT = "%(asctime)s %(levelname)s %(process)d %(message)s"


def set_up_logging(form: LogFormat) -> None:
    """On stderr, in place of what was set up before.

    What a line is given as `extra={"facts": {…}}` are fields of their own in JSON; its text says the same.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if form is LogFormat.json else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Uvicorn tells of every start and stop in lines of its own.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object on one line."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)
