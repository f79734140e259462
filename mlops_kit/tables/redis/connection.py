"""From an address to a client of a Redis or Valkey server."""

from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mlops_kit.errors import UsageError, listed, suggestion
from mlops_kit.tables.address import Address

PORT = 6379
CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 5.0
GRACE_S = 3600


@dataclass(frozen=True, slots=True)
class Options:
    """What an address may say behind ?table=NAME.

    - `grace_s`: how long the rows of a generation that is no longer kept can still be read, for applications that
      have read `current` and not yet the row.
    - `ca`: a file of certificates that vouch for the server's, instead of those that the machine trusts.
    - `eviction=accepted`: publish although the server removes arbitrary keys when its memory is full.
    """

    grace_s: int = GRACE_S
    ca: str = ""
    is_eviction_accepted: bool = False


def read_options(address: Address) -> Options:
    """Raises UsageError for an option that is unknown or has a value that it cannot have."""
    given = dict(address.options)
    known = ["grace_s", "ca", "eviction"]
    if unknown := [name for name in given if name not in known]:
        fix = suggestion(unknown, known) or f"the options are {listed(known)}"
        raise UsageError(f"{address}: unknown option {unknown[0]!r}", fix=fix)
    grace = given.get("grace_s", str(GRACE_S))
    if not (grace.isascii() and grace.isdecimal() and len(grace) < 10):
        raise UsageError(f"{address}: grace_s is no number of seconds", fix=f"write grace_s={GRACE_S}")
    if given.get("eviction", "accepted") != "accepted":
        raise UsageError(
            f"{address}: eviction can only be accepted", fix="write eviction=accepted, or leave it out"
        )
    return Options(int(grace), given.get("ca", ""), "eviction" in given)


def connect(address: Address, password: str) -> redis.Redis:
    """A client that does not connect before its first command, gives up after seconds and never tries twice:
    whoever publishes must hear of a connection that was lost. Raises UsageError if the address is not one.
    """
    host, port = address.host_and_port(PORT)
    options = read_options(address)
    database = address.path or "0"
    if not (database.isascii() and database.isdecimal()):
        fix = f"write {address.scheme}://{host}:{port}/0?table={address.table}"
        raise UsageError(f"{address}: {database!r} is no database, which have numbers", fix=fix)
    if options.ca and address.scheme != "rediss":
        raise UsageError(f"{address}: ca is for TLS", fix="write rediss:// instead of redis://")
    if options.ca and not Path(options.ca).is_file():
        raise UsageError(f"{address}: there is no file {options.ca}", fix="name a file of certificates (PEM)")
    return redis.Redis(
        host=host,
        port=port,
        db=int(database),
        username=address.user or None,
        password=password or None,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        ssl=address.scheme == "rediss",
        ssl_ca_certs=options.ca or None,
    )
