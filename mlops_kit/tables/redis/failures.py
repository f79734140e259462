"""What a server, or the way to it, refuses: in plain words, and without anything of the rows."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis.exceptions as failures

from mlops_kit.errors import MlkitError, StoreError, UsageError
from mlops_kit.tables.address import Address


@dataclass(frozen=True, slots=True)
class Refusal:
    """A failure, known by the client's exception, by its cause, or by how the server's message begins."""

    known_by: tuple[type[BaseException] | str, ...]
    what: str
    why: str
    fix: str
    error: type[MlkitError] = StoreError


REFUSALS = (
    Refusal(
        (failures.AuthenticationError, failures.AuthenticationWrongNumberOfArgsError),
        "no access",
        "the server does not accept this user and password",
        "give the user in the address (redis://user@host) and the password in MLKIT_PASSWORD",
    ),
    Refusal(
        (failures.NoPermissionError,),
        "no permission",
        "the server does not let this user do what is needed",
        "let the user read and write its keys, run scripts, SCAN and INFO (ACL SETUSER)",
    ),
    Refusal(
        (failures.ReadOnlyError,),
        "it takes no writes",
        "the server is a replica, which only reads",
        "give the address of the primary server",
    ),
    Refusal(
        (failures.OutOfMemoryError,),
        "it takes no writes",
        "the server's memory is full",
        "raise its maxmemory, or keep less in it, then run again",
    ),
    Refusal(
        (failures.BusyLoadingError, failures.MasterDownError, failures.TryAgainError, "BUSY "),
        "no answer",
        "the server is busy, or not ready yet",
        "run again in a moment",
    ),
    Refusal(
        (
            failures.AskError,
            failures.ClusterError,
            failures.ClusterCrossSlotError,
            "SELECT is not allowed in cluster mode",
        ),
        "no single server",
        "it is part of a cluster, over which keys would be scattered",
        "give the address of a server that is not in cluster mode",
    ),
    Refusal(
        ("MISCONF", "NOREPLICAS"),
        "it takes no writes",
        "the server cannot save or replicate what it is given, and so refuses to write",
        "see the server's log for the reason, then run again",
    ),
    Refusal(
        ("WRONGTYPE",),
        "keys of another kind",
        "its keys are in use by something else",
        "choose another ?table= or another database",
        UsageError,
    ),
    Refusal(
        ("DB index is out of range", "invalid DB index"),
        "no such database",
        "the server has fewer databases",
        "write a smaller number behind the host, such as /0",
    ),
    Refusal(
        (ssl.SSLCertVerificationError,),
        "no trusted connection",
        "the server's certificate is not trusted here, or is for another name",
        "use the name in the certificate, and name the file that vouches for it with &ca=FILE",
    ),
    Refusal(
        (ssl.SSLError,),
        "no connection",
        "the server does not speak TLS as expected",
        "write redis:// if it has no TLS, and check the file given with &ca=",
    ),
    Refusal(
        (failures.InvalidResponse,),
        "no connection",
        "what answers there is no Redis or Valkey server",
        "check host and port, and write rediss:// if the server wants TLS",
    ),
    Refusal(
        (failures.TimeoutError,),
        "no answer",
        "the server was silent for too long",
        "check host and port, and whether it has TLS (rediss://) or not (redis://), then run again",
    ),
)
"""The first that fits counts."""


@contextmanager
def plain_failures(address: Address) -> Iterator[None]:
    """Turns what the client raises into StoreError, or into UsageError for keys that belong to something else."""
    try:
        yield
    except failures.RedisError as error:
        raise explain(address, error) from error


def explain(address: Address, error: failures.RedisError) -> MlkitError:
    """The failure in plain words."""
    causes = list(_causes(error))
    message = _without_arguments(str(error))
    for refusal in REFUSALS:
        for sign in refusal.known_by:
            if message.startswith(sign) if isinstance(sign, str) else any(isinstance(e, sign) for e in causes):
                return refusal.error(f"{address}: {refusal.what}", refusal.why, refusal.fix)
    if isinstance(error, failures.ConnectionError):
        reason = getattr(causes[-1], "strerror", None) or "it closed the connection"
        why = f"the server is not there, or went away ({reason})"
        return StoreError(f"{address}: no connection", why, "check host and port, then run again")
    return StoreError(f"{address}: the server refuses", message, "check its version and its log")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _without_arguments(message: str) -> str:
    """Servers repeat a command that they do not know, and the client one of a pipeline; rows may be in them."""
    return message.rpartition("caused error: ")[2].partition(", with args")[0]
