"""A PostgreSQL server of a test's own, below a given folder, on the loopback interface."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from adbc_driver_postgresql import StatementOptions, dbapi

from tests.ports import free_port

USER = "mlkit"
PASSWORD = "a:b@c/d?é"  # every character that a URL has to escape


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. Every address carries user and password, `escaped` as URLs need it."""

    port: int

    def url(self, database: str = "postgres", escaped: str = "a%3Ab%40c%2Fd%3F%C3%A9") -> str:
        password = f":{escaped}" if escaped else ""
        return f"postgresql://{USER}{password}@127.0.0.1:{self.port}/{database}"

    def query(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement, and return the rows that it answers with."""
        # By default the driver reads by COPY, which takes nothing but SELECT.
        settings = {StatementOptions.USE_COPY.value: "false"}
        with (
            closing(dbapi.connect(self.url(database), autocommit=True)) as connection,
            connection.cursor(adbc_stmt_kwargs=settings) as cursor,
        ):
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def new_database(self) -> Iterator[str]:
        """An empty database, dropped in the end, whoever is still connected."""
        name = f"test_{uuid4().hex}"
        self.query(f"CREATE DATABASE {name}")
        try:
            yield name
        finally:
            self.query(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def run_postgres(folder: Path, settings: Sequence[str] = ("fsync=off",)) -> Iterator[PostgresServer]:
    """Start a server, and stop it in the end. `folder` must be one that every user can reach."""
    programs = _find_programs()
    data, log = folder / "data", folder / "log"
    (folder / "password").write_text(PASSWORD)
    # PostgreSQL refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)

    def call(program: str, *arguments: str) -> None:
        command = [str(programs / program), f"--pgdata={data}", *arguments]
        done = subprocess.run(command, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()} {log.read_text() if log.exists() else ''}")

    call(
        "initdb", "--no-sync", "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256",
        f"--username={USER}", f"--pwfile={folder}/password",
    )  # fmt: skip
    port = free_port()
    options = " ".join(f"-c {setting}" for setting in (f"port={port}", "listen_addresses=127.0.0.1", *settings))
    try:
        call("pg_ctl", "start", "--wait", f"--log={log}", f"--options={options} -k {folder}")
        yield PostgresServer(port)
    finally:
        if (data / "postmaster.pid").exists():
            call("pg_ctl", "stop", "--wait", "--mode=immediate")


def _find_programs() -> Path:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    if not folders:
        pytest.skip("PostgreSQL is not installed")
    return folders[-1]
