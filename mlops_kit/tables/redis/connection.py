"""From an address to a client of a Redis or Valkey server."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Transport:
    """How a server is reached, and how long it may take. `ca` is a file of certificates, see `Options`."""

    ca: str = ""
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    answer_timeout_s: float = ANSWER_TIMEOUT_S


def connect(address: Address, password: str) -> redis.Redis:
    """A client for the table at this address. Raises UsageError if the address is not one."""
    return make_client(address, password, Transport(read_options(address).ca))


def make_client(address: Address, password: str, transport: Transport) -> redis.Redis:
    """A client that does not connect before its first command, gives up after seconds and never tries twice:
    whoever writes must hear of a connection that was lost. Raises UsageError if the address is not one.
    """
    return redis.Redis(**client_options(address, password, transport), retry=Retry(NoBackoff(), 0))


def client_options(address: Address, password: str, transport: Transport) -> dict[str, Any]:
    """What any client of this server is made with. Raises UsageError if the address is not one."""
    host, port = address.host_and_port(PORT)
    database = address.path or "0"
    if not (database.isascii() and database.isdecimal()):
        fix = f"write {replace(address, path='0')}"
        raise UsageError(f"{address}: {database!r} is no database, which have numbers", fix=fix)
    if transport.ca and address.scheme != "rediss":
        raise UsageError(f"{address}: ca is for TLS", fix="write rediss:// instead of redis://")
    if transport.ca and not Path(transport.ca).is_file():
        raise UsageError(f"{address}: there is no file {transport.ca}", fix="name a file of certificates (PEM)")
    return {
        "host": host,
        "port": port,
        "db": int(database),
        "username": address.user or None,
        "password": password or None,
        "socket_connect_timeout": transport.connect_timeout_s,
        "socket_timeout": transport.answer_timeout_s,
        "protocol": 2,
        "ssl": address.scheme == "rediss",
        "ssl_ca_certs": transport.ca or None,
    }


def refuse_eviction(client: redis.Redis, address: Address) -> None:
    """Raises UsageError if the server may drop some of what is stored, which would no longer be whole."""
    memory = client.info("memory")
    policy = memory.get("maxmemory_policy", "")
    if memory.get("maxmemory", 0) and policy.startswith("allkeys"):
        raise UsageError(
            f"{address}: what is stored could vanish",
            f"the server's maxmemory-policy is {policy}: it removes any keys when its memory is full",
            "set it to noeviction or volatile-ttl, or add eviction=accepted to the address",
        )
