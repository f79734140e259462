"""Looking up stored answers in Redis or Valkey, over the network."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from mlops_kit.bench.interface import Subject
from mlops_kit.bench.stored_answers import Lookups
from mlops_kit.errors import UsageError
from mlops_kit.tables.resolve import resolve_address

KEYS_AT_ONCE = 10_000


def why_not(subject: Subject) -> str:
    """Which server."""
    if not subject.redis:
        return "needs --redis URL"
    return "" if find_spec("redis") else "needs pip install 'mlops-kit[redis]'"


@contextmanager
def open_mode(subject: Subject) -> Iterator[Lookups]:
    """In a table of its own, whose keys are removed in the end."""
    from mlops_kit.tables.redis.connection import connect
    from mlops_kit.tables.redis.failures import plain_failures

    if "table=" in subject.redis:
        raise UsageError(
            "--redis has ?table=", "the bench makes a table of its own, and removes it", "leave it out"
        )
    table = f"mlkit_bench_{uuid.uuid4().hex}"
    output = _with_options(subject.redis, table=table, grace_s="1")
    address = resolve_address(output)
    client = connect(address, address.password or subject.password)

    def measure_bytes() -> float:
        with plain_failures(address):
            return float(client.info("memory")["used_memory"])

    try:
        yield Lookups(subject, output, measure_bytes)
    finally:
        with plain_failures(address):
            names = list(client.scan_iter(f"{table}:*", count=KEYS_AT_ONCE))
            for first in range(0, len(names), KEYS_AT_ONCE):
                client.unlink(*names[first : first + KEYS_AT_ONCE])
        client.close()


def _with_options(url: str, **more: str) -> str:
    """The file of certificates is found from every folder: the commands that publish run in another."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query)) | more
    if "ca" in options:
        options["ca"] = str(Path(options["ca"]).absolute())
    return parts._replace(query=urlencode(options)).geturl()
