"""Apache Cassandra, one node on the loopback interface, run from its Maven jars with Java 17.

`python -m tests.servers.cassandra` fetches the jars beforehand; otherwise the first test that asks does.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import RoundRobinPolicy

from tests.ports import free_port

POM = Path(__file__).with_name("cassandra-pom.xml")
START_LIMIT_S = 90
LOGGING = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %-5level %msg%n%ex{5}</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"""
OPENED = (
    "java.base/java.io", "java.base/java.lang", "java.base/java.lang.module", "java.base/java.nio",
    "java.base/java.util", "java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader", "java.base/jdk.internal.math", "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref", "java.base/jdk.internal.reflect", "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch", "jdk.management/com.sun.management.internal",
)  # fmt: skip
EXPORTED = (
    "java.base/java.lang.ref", "java.base/jdk.internal.misc", "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch", "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server", "java.sql/java.sql", "jdk.unsupported/sun.misc",
)  # fmt: skip
"""The packages that Cassandra reaches into, as its own jvm17-server.options has them."""


DURABLE = {"commitlog_sync": "group", "commitlog_sync_group_window": "5ms", "commitlog_sync_period": None}
"""Settings with which everything acknowledged survives kill(). The default may lose the last ten seconds."""

AUTHENTICATED = {"authenticator": "PasswordAuthenticator", "authorizer": "CassandraAuthorizer"}
"""Settings with which there is one user at first: cassandra, whose password is cassandra."""


class CassandraServer:
    """A node whose data lies below `folder`. `settings` are added to those of its cassandra.yaml; None removes one."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.port = free_port()
        self._folder = folder.absolute()
        self._libraries = fetch_libraries()
        self._java = _find_java()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder.mkdir(parents=True, exist_ok=True)
        merged = self._configuration() | settings
        given = {name: value for name, value in merged.items() if value is not None}
        (self._folder / "cassandra.yaml").write_text(json.dumps(given, indent=1))
        (self._folder / "logback.xml").write_text(LOGGING)

    def start(self) -> None:
        """Return when it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), cwd=self._folder, stdout=log, stderr=log)
        until = time.monotonic() + START_LIMIT_S
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"Cassandra did not start: {(self._folder / 'log').read_text()[-4000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """As if the power failed. A node that is not running stays so."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def url(self, keyspace: str, user: str = "") -> str:
        return f"cassandra://{user}127.0.0.1:{self.port}/{keyspace}"

    def new_keyspace(self) -> str:
        """An empty one, of which nobody else knows."""
        name = f"test_{uuid4().hex}"
        replication = "{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}"
        with self.session() as session:
            session.execute(f"CREATE KEYSPACE {name} WITH replication = {replication}")
        return name

    @contextmanager
    def session(self) -> Iterator[Any]:
        """A connection, as the user cassandra where the node wants to know."""
        user = PlainTextAuthProvider("cassandra", "cassandra")
        profile = ExecutionProfile(RoundRobinPolicy())
        with Cluster(
            [("127.0.0.1", self.port)],
            auth_provider=user,
            protocol_version=4,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        ) as cluster:
            yield cluster.connect()

    def _configuration(self) -> dict[str, object]:
        storage_port = free_port()
        seeds = {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider"}
        return {
            "cluster_name": "tests",
            "num_tokens": 1,
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "endpoint_snitch": "SimpleSnitch",
            "seed_provider": [seeds | {"parameters": [{"seeds": f"127.0.0.1:{storage_port}"}]}],
            "listen_address": "127.0.0.1",
            "rpc_address": "127.0.0.1",
            "native_transport_port": self.port,
            "storage_port": storage_port,
            "commitlog_sync": "periodic",
            "commitlog_sync_period": "10s",
            "commitlog_segment_size": "8MiB",
            "memtable_heap_space": "64MiB",
            "memtable_offheap_space": "64MiB",
            "key_cache_size": "0MiB",
            "counter_cache_size": "0MiB",
            "auto_snapshot": False,
            "data_file_directories": [str(self._folder / "data")],
            **{f"{name}_directory": str(self._folder / name) for name in ("commitlog", "saved_caches", "hints")},
        }

    def _command(self) -> list[str]:
        jamm = next(self._libraries.glob("jamm-*.jar"))
        properties = {
            "cassandra.config": (self._folder / "cassandra.yaml").as_uri(),
            "cassandra.storagedir": self._folder,
            "logback.configurationFile": self._folder / "logback.xml",
            "java.io.tmpdir": self._folder,
            "jdk.attach.allowAttachSelf": "true",
            # A lone node has nobody to wait for.
            "cassandra.skip_wait_for_gossip_to_settle": 0,
            "cassandra.ring_delay_ms": 0,
            "cassandra.superuser_setup_delay_ms": 0,
            "cassandra.auth_bcrypt_gensalt_log2_rounds": 4,
        }
        return [
            self._java, "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData",
            *(f"--add-opens={package}=ALL-UNNAMED" for package in OPENED),
            *(f"--add-exports={package}=ALL-UNNAMED" for package in EXPORTED),
            f"-javaagent:{jamm}",
            *(f"-D{name}={value}" for name, value in properties.items()),
            "-cp", f"{self._libraries}/*", "org.apache.cassandra.service.CassandraDaemon",
        ]  # fmt: skip


@contextmanager
def run_cassandra(folder: Path, settings: Mapping[str, object] = {}) -> Iterator[CassandraServer]:
    """A node that answers, and is stopped in the end."""
    server = CassandraServer(folder, settings)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def fetch_libraries() -> Path:
    """The folder of jars, in the user's cache; made by Maven if it is not there, for others that ask meanwhile too."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlkit-tests"
    libraries = cache / f"cassandra-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock, tempfile.TemporaryDirectory(dir=cache) as staging:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if libraries.is_dir():
            return libraries
        maven = shutil.which("mvn")
        if not maven:
            pytest.skip(
                "Apache Cassandra's jars are not in the cache, and Maven, which fetches them, is not installed"
            )
        fetched = Path(staging) / "libraries"
        command = [maven, "-q", "-B", "-f", POM, "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"]
        done = subprocess.run(command, cwd=staging, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"Apache Cassandra's jars cannot be fetched: {done.stdout[-1000:]}")
        fetched.rename(libraries)
    return libraries


def _find_java() -> str:
    """Cassandra 5.0 runs with Java 17, and not with a later one."""
    candidates = [shutil.which("java"), *map(str, Path("/usr/lib/jvm").glob("*17*/bin/java"))]
    for java in filter(None, candidates):
        version = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
        if re.search(r'version "17\.', version):
            return java
    pytest.skip("Java 17, which Apache Cassandra needs, is not installed")


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    print(fetch_libraries())
