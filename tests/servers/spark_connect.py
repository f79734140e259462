"""A Spark Connect server of a test's own, on the loopback interface."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark
import pytest

from tests.ports import free_port

START_S = 120
CLASS = "org.apache.spark.sql.connect.service.SparkConnectServer"


@contextmanager
def run_spark_connect(folder: Path) -> Iterator[str]:
    """Start a server with two slots, and give its URL; in the end it is killed."""
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("no Java")
    home, port = Path(pyspark.__file__).parent, free_port()
    settings = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.ui.enabled": "false",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    jar = next((home / "jars").glob("spark-connect_*.jar"))
    command = [home / "bin" / "spark-submit", "--master", "local[2]", "--class", CLASS]
    command += [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*map(str, command), str(jar)], cwd=folder, stdout=log, stderr=log, env=os.environ | {"PYSPARK_PYTHON": sys.executable},
        )  # fmt: skip
    try:
        _await(server, folder / "log")
        yield f"sc://127.0.0.1:{port}"
    finally:
        # Its Python workers end when it does.
        server.kill()
        server.wait()


def _await(server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while "Spark Connect server started at" not in log.read_text():
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no Spark Connect server: {log.read_text()}")
        time.sleep(0.05)
