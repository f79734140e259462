"""A Spark session: the one that is there, a new one on a master, or one on a Spark Connect server."""

import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from mlops_kit.errors import MissingExtraError, StoreError, UsageError
from mlops_kit.modes.batch.spark.failure import first_useful_line

CONNECT = "sc://"
SETTINGS = {
    "spark.app.name": "mlkit batch-predict",
    "spark.log.level": "ERROR",
    "spark.ui.showConsoleProgress": "false",
}
FIRST_RETRIES = 5
"""Within a few seconds; each wait is four times as long as the one before."""

JAVA = "install Java 17 or set JAVA_HOME, and check --master"
TELLING = re.compile(r"Exception|Error|ERROR|JAVA_HOME|java: ")


@contextmanager
def open_session(master: str, log: Path) -> Iterator[SparkSession]:
    """A session on a master such as local[4] or spark://host:7077, or on a Connect server, sc://host:15002.

    If this process has a session already, it is taken instead, and stays. What a new one's Java process prints
    goes to `log`. Raises UsageError, StoreError and MissingExtraError.
    """
    with warnings.catch_warnings():
        # Of every pandas that is newer than PySpark, for example.
        warnings.filterwarnings("ignore", module="pyspark")
        existing = SparkSession.getActiveSession()
        if existing is not None:
            yield existing
            return
        session = _connect(master) if master.startswith(CONNECT) else _launch(master, log)
        try:
            yield session
        finally:
            # If Java has died, there is nothing to stop.
            with suppress(Py4JError, OSError):
                session.stop()


def _connect(url: str) -> SparkSession:
    try:
        session = SparkSession.builder.remote(url).getOrCreate()
    except ImportError as error:
        raise MissingExtraError(error.name or "pyspark[connect]", "spark", CONNECT) from error
    except PySparkException as error:
        why = first_useful_line(str(error))
        raise UsageError(f"--master {url}", why, "write it as sc://HOST:15002") from error
    policies = session.client.get_retry_policies()
    try:
        # A server that is not there would be waited for ten minutes long.
        session.client.set_retry_policies([type(policies[0])(max_retries=FIRST_RETRIES)])
        session.version  # noqa: B018 - the first call to the server
    except PySparkException as error:
        session.client.set_retry_policies([])
        session.stop()
        what, why = f"no Spark Connect server answers at {url}", first_useful_line(str(error))
        raise StoreError(what, why, "start it, or check --master") from error
    session.client.set_retry_policies(policies)
    return session


def _launch(master: str, log: Path) -> SparkSession:
    settings = [*SETTINGS.items(), ("spark.master", master)]
    handler = signal.getsignal(signal.SIGINT)
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        # The only way to keep off the terminal what Java prints before its logging begins.
        with log.open("wb") as output:
            java = SparkConf(loadDefaults=False).setAll(settings)
            # A session that was stopped has left its Java process.
            gateway = SparkContext._gateway or launch_gateway(java, {"stdout": output, "stderr": output})
        context = SparkContext(gateway=gateway, conf=SparkConf(_jvm=gateway.jvm).setAll(settings))
        if master.startswith("local"):
            context.pythonExec = sys.executable
        return SparkSession(context)
    except (PySparkException, Py4JError) as error:
        why = _reason(log) or first_useful_line(str(error))
        raise UsageError(f"Spark does not start on {master}", why, JAVA) from error
    finally:
        # Spark puts in a handler that gives up the running units.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _reason(log: Path) -> str:
    """The line in which Java, or the script that should start it, says what is wrong."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return next((first_useful_line(line) for line in lines if TELLING.search(line)), "")
