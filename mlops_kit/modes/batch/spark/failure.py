"""How errors come back from executors, and what Spark's own mean to people."""

import re
import sys
from pathlib import Path
from textwrap import shorten

import msgspec

from mlops_kit.errors import MlkitError, StoreError, UsageError
from mlops_kit.modes.facts import Facts, error_of, facts_of

MARK = "mlkit-error"
MOST_CHARACTERS = 200
PYTHON_ERROR = re.compile(r"[\w.]+(Error|Exception|Interrupt|Exit)\b")
GRPC = re.compile(r'^\s*details = "(.*)"$', re.MULTILINE)
CARRIED = re.compile(rf"{MARK} (\{{.*\}})")


class ExecutorError(Exception):
    """Carries an MlkitError in its text: the only thing of an exception that Spark brings to the driver."""


def carry(error: MlkitError) -> ExecutorError:
    """The exception to raise in an executor."""
    return ExecutorError(f"{MARK} {msgspec.json.encode(facts_of(error)).decode()}")


def explain(error: Exception, log: Path | None) -> MlkitError:
    """What a failed Spark job means: the executor's own MlkitError, or what to do about Spark's error."""
    text = str(error)
    if found := CARRIED.search(text):
        return error_of(msgspec.json.decode(found[1], type=Facts))
    if "No module named 'mlops_kit" in text:
        fix = "pip install 'mlops-kit[spark]' in the Python of the executors"
        return UsageError("Spark's executors do not have mlkit", "their Python cannot import mlops_kit", fix)
    if "PYTHON_VERSION_MISMATCH" in text:
        mine = ".".join(map(str, sys.version_info[:2]))
        fix = f"give the executors Python {mine}: PYSPARK_PYTHON, or spark.pyspark.python on the server"
        return UsageError("Spark's executors have another Python", first_useful_line(text), fix)
    where = f"; {log} has what Spark says" if log else ""
    fix = f"run the same command again: what is finished is kept{where}"
    why = "its Java process does not answer" if isinstance(error, OSError) else first_useful_line(text)
    return StoreError("the Spark job failed", why, fix)


def first_useful_line(text: str) -> str:
    r"""Of a Python traceback the line with the error, of Java's the innermost message, of others the first line.

    >>> first_useful_line("An error occurred while calling o1.\n: java.lang.Exception: no route\n\tat a.b(C)")
    'no route'
    """
    if grpc := GRPC.search(text):
        return grpc[1]
    lines = [line.strip() for line in text.splitlines()]
    if (start := next((n for n, line in enumerate(lines) if line.startswith("Traceback ")), None)) is not None:
        lines = [line for line in lines[start:] if PYTHON_ERROR.match(line)]
    said = next((line for line in lines if line and not line.startswith("An error occurred while calling")), text)
    return shorten(said.rpartition("Exception: ")[2], MOST_CHARACTERS, placeholder=" …")
