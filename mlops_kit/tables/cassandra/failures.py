"""What a cluster, or the way to it, refuses: in plain words, and without anything of the rows."""

from collections.abc import Iterator
from contextlib import contextmanager

from cassandra import (
    AuthenticationFailed,
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    Timeout,
    Unauthorized,
    Unavailable,
    UnresolvableContactPoints,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import ErrorMessage

from mlops_kit.errors import InputError, MlkitError, StoreError
from mlops_kit.tables.address import Address

FAILURES = (DriverException, ErrorMessage, NoHostAvailable, ConnectionException, NoConnectionsAvailable)
AGAIN = "run again when the cluster is well: readers keep what they have until then"
REFUSALS = (
    (
        AuthenticationFailed,
        "no access",
        "the cluster does not accept this user and password",
        "give the user in the address (cassandra://user@host) and the right password",
    ),
    (
        Unauthorized,
        "no permission",
        "the cluster does not let this user do what is needed",
        "GRANT SELECT on the keyspace to whom looks up; to whom publishes, MODIFY, CREATE and ALTER, too",
    ),
    (Unavailable, "no answer", "too many of the nodes that have the rows are down", AGAIN),
    ((Timeout, OperationTimedOut), "no answer", "the cluster did not answer in time", AGAIN),
)
"""The driver's exceptions, what happened, why, and what to do. The first that fits counts."""
TOO_LARGE = ("oversized mutation", "exceeds allowed maximum")


@contextmanager
def plain_failures(address: Address) -> Iterator[None]:
    """Turns what the driver raises into StoreError, or InputError for a row that is too large."""
    try:
        yield
    except FAILURES as error:
        raise _explain(address, error) from error


def _explain(address: Address, error: Exception) -> MlkitError:
    """The driver tells of each node that it tried; the first answer of one stands for all."""
    if isinstance(error, UnresolvableContactPoints):
        return StoreError(f"{address}: no connection", "no host has this name", "check the address")
    tried = list(error.errors.values()) if isinstance(error, NoHostAvailable) else [error]
    for reason in tried:
        for kind, what, why, fix in REFUSALS:
            if isinstance(reason, kind):
                return StoreError(f"{address}: {what}", why, fix)
        if isinstance(reason, InvalidRequest) and any(sign in str(reason) for sign in TOO_LARGE):
            # What the cluster says has the row's key in it.
            what = f"{address}: a row is larger than the cluster takes"
            return InputError(what, "half of commitlog_segment_size is the most", "leave large columns out")
    answers = [reason for reason in tried if isinstance(reason, DriverException | ErrorMessage)]
    if not answers:
        why = "no node is there, or all that were have gone away"
        return StoreError(f"{address}: no connection", why, f"check hosts and port, and {AGAIN}")
    # What an ErrorMessage says beyond its summary may be any text of the server's.
    why = answers[0].summary if isinstance(answers[0], ErrorMessage) else str(answers[0])
    return StoreError(f"{address}: the cluster refuses", why, f"see the logs of its nodes, and {AGAIN}")
