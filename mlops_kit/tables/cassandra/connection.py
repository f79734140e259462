"""A connection to a cluster."""

import logging
from dataclasses import replace

from cassandra import ConsistencyLevel, WriteType
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.query import tuple_factory

from mlops_kit.errors import UsageError
from mlops_kit.tables.address import Address
from mlops_kit.tables.cassandra.failures import plain_failures

PORT = 9042
PROTOCOL = 4
"""The driver would try later ones first; the next one makes it write checksums, in Python."""
CONNECT_LIMIT_S = 5.0
REQUEST_LIMIT_S = 20.0
LONGEST_PAUSE_S = 10.0
"""Between two attempts to reach a node that went away."""


class PatientPolicy(RetryPolicy):  # type: ignore[misc]
    """A loaded cluster may time out on a row now and then; to write the same row again does no harm.

    A conditional write is never repeated: whether it took place is not known.
    """

    ATTEMPTS = 3

    def on_write_timeout(
        self, _query: object, *, consistency: int, write_type: int, retry_num: int, **_answers: int
    ) -> tuple[int, int | None]:
        """The same consistency again, or the error."""
        if write_type in (WriteType.SIMPLE, WriteType.UNLOGGED_BATCH) and retry_num < self.ATTEMPTS:
            return self.RETRY, consistency
        return self.RETHROW, None


def connect(address: Address, password: str) -> Session:
    """Connect to the first node of the address that answers, and to the others of its datacenter. Every read and
    write asks a majority of the replicas, so that a read sees whatever was written before it; rows are tuples.

    Raises UsageError for a port that is no number or a keyspace that the cluster lacks, and StoreError.
    """
    hosts = [replace(address, hosts=host).host_and_port(PORT) for host in address.hosts.split(",")]
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy()),
        retry_policy=PatientPolicy(),
        consistency_level=ConsistencyLevel.QUORUM,
        serial_consistency_level=ConsistencyLevel.SERIAL,
        request_timeout=REQUEST_LIMIT_S,
        row_factory=tuple_factory,
    )
    # Where nobody configured logging, Python would print the driver's warnings beside the error that they end in.
    logging.getLogger("cassandra").addHandler(logging.NullHandler())
    with plain_failures(address):
        cluster = Cluster(
            contact_points=hosts,
            protocol_version=PROTOCOL,
            auth_provider=PlainTextAuthProvider(address.user, password) if address.user else None,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            reconnection_policy=ExponentialReconnectionPolicy(0.5, LONGEST_PAUSE_S),
            connect_timeout=CONNECT_LIMIT_S,
            control_connection_timeout=CONNECT_LIMIT_S,
        )
        try:
            session = cluster.connect()
            _check_keyspace(address, cluster)
        except BaseException:
            cluster.shutdown()
            raise
    return session


def _check_keyspace(address: Address, cluster: Cluster) -> None:
    if address.path in cluster.metadata.keyspaces:
        return
    datacenters = sorted({host.datacenter for host in cluster.metadata.all_hosts()})
    copies = "".join(f", '{name}': 3" for name in datacenters)
    raise UsageError(
        f"{address}: there is no keyspace {address.path!r}",
        "how many copies it has of every row, and where, is for its owner to choose",
        f"CREATE KEYSPACE {address.path} WITH replication = {{'class': 'NetworkTopologyStrategy'{copies}}}",
    )
