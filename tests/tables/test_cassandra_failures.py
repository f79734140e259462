"""What people are told when a cluster refuses, is none, or lacks what an address names."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlops_kit.errors import StoreError, UsageError
from mlops_kit.tables.interface import Table
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.servers.cassandra import AUTHENTICATED, CassandraServer, run_cassandra
from tests.tables.generations import make_frame, write_generation
from tests.without_package import error_without

PASSWORD = "s3cret"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraServer]:
    """A node with a keyspace `guarded`, which the user `reader` may only read, and the user `writer` change."""
    with run_cassandra(tmp_path_factory.mktemp("guarded"), AUTHENTICATED) as server:
        with server.session() as session:
            session.execute(
                "CREATE KEYSPACE guarded WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
            )
            for user in ("reader", "writer"):
                session.execute(f"CREATE ROLE {user} WITH PASSWORD = '{PASSWORD}' AND LOGIN = true")
                session.execute(f"GRANT SELECT ON KEYSPACE guarded TO {user}")
            for permission in ("MODIFY", "CREATE", "ALTER"):
                session.execute(f"GRANT {permission} ON KEYSPACE guarded TO writer")
        yield server


def open_at(address: str, password: str = "") -> Table:
    return open_table(resolve_address(f"{address}?table=eta"), password)


def publish_at(address: str, folder: Path, password: str = "") -> float:
    """Publish, and return a prediction."""
    with closing(open_at(address, password)) as table:
        table.publish(write_generation(folder, make_frame(8)), 2, lambda rows: None)
        found = table.get(["7"])
        assert found is not None
        return float(found.values["prediction"])


def test_a_user_with_the_permissions_that_are_named_can_publish(guarded: CassandraServer, tmp_path: Path) -> None:
    assert publish_at(guarded.url("guarded", "writer@"), tmp_path, PASSWORD) == 1.0
    assert publish_at(guarded.url("guarded", "writer@"), tmp_path, PASSWORD) == 1.0


def test_the_password_is_taken_from_the_address(guarded: CassandraServer, tmp_path: Path) -> None:
    assert publish_at(guarded.url("guarded", f"writer:{PASSWORD}@"), tmp_path, "another") == 1.0


@pytest.mark.parametrize(
    ("user", "password"), [("", ""), ("", PASSWORD), ("reader@", "wr0ng"), ("nobody@", PASSWORD)]
)
def test_without_the_right_password_there_is_no_access(guarded: CassandraServer, user: str, password: str) -> None:
    with pytest.raises(StoreError, match=r"no access.*user and password") as raised:
        open_at(guarded.url("guarded", user), password)
    if password:
        assert password not in str(raised.value)


def test_a_user_that_only_reads_can_look_up_and_not_publish(guarded: CassandraServer, tmp_path: Path) -> None:
    publish_at(guarded.url("guarded", "writer@"), tmp_path, PASSWORD)
    with closing(open_at(guarded.url("guarded", "reader@"), PASSWORD)) as table:
        assert table.get(["7"])
    with pytest.raises(StoreError, match=r"no permission.*GRANT"):
        publish_at(guarded.url("guarded", "reader@"), tmp_path, PASSWORD)


def test_a_keyspace_that_is_not_there_is_named_with_what_makes_it(
    cassandra_server: CassandraServer, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no keyspace 'not_there'") as raised:
        open_at(cassandra_server.url("not_there"))
    with cassandra_server.session() as session:
        session.execute(raised.value.fix.replace(": 3", ": 1"))
    assert publish_at(cassandra_server.url("not_there"), tmp_path) == 1.0


WRONG = {
    "cassandra://db?table=eta": "which keyspace.*cassandra://HOST/KEYSPACE",
    "cassandra://db/flights?table=eta&ssl=on": "no options 'ssl'",
    "cassandra://db/flights?table=mlkit_keys": "takes no table name 'mlkit_keys'",
    "cassandra://db/flights?table=e-ta": "letters, digits and underscores",
    "cassandra://db:port/flights?table=eta": "no host and port.*9042",
}


@pytest.mark.parametrize(("text", "reason"), WRONG.items(), ids=WRONG)
def test_an_address_that_cannot_be_one_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        open_table(resolve_address(text))


def test_a_host_that_nobody_knows_is_said() -> None:
    with pytest.raises(StoreError, match=r"no connection.*no host has this name"):
        open_at("cassandra://nowhere.invalid/flights")


def test_of_several_nodes_one_that_answers_is_enough(cassandra_server: CassandraServer, tmp_path: Path) -> None:
    address = cassandra_server.url(cassandra_server.new_keyspace()).replace("127.0.0.1", "127.0.0.1:1,127.0.0.1")
    assert publish_at(address, tmp_path) == 1.0


def test_a_driver_without_an_event_loop_is_said() -> None:
    program = "from mlops_kit.tables.resolve import lookup; lookup('cassandra://db/flights?table=eta')"
    said = error_without(["cassandra.io.libevwrapper", "asyncore"], program)
    assert "UsageError" in said
    assert "libev" in said
    assert "pip install" in said


def test_nothing_but_the_error_is_printed() -> None:
    program = """
from mlops_kit.errors import StoreError
from mlops_kit.tables.resolve import lookup
try:
    lookup("cassandra://127.0.0.1:1/flights?table=eta")
except StoreError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "no connection" in done.stdout
    assert done.stderr == ""
