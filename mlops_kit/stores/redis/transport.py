"""The options of an address."""

from mlops_kit.errors import UsageError
from mlops_kit.stores.options import refuse_unknown, seconds
from mlops_kit.tables.address import Address
from mlops_kit.tables.redis.connection import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, Transport


def read_transport(address: Address) -> Transport:
    """How the server is reached. Raises UsageError for an unknown option, and for a value that none can have."""
    refuse_unknown(address, ["connect_timeout_s", "timeout_s", "ca", "eviction"])
    options = dict(address.options)
    if options.get("eviction", "accepted") != "accepted":
        raise UsageError(
            f"{address}: eviction can only be accepted", fix="write eviction=accepted, or leave it out"
        )
    return Transport(
        options.get("ca", ""),
        seconds(address, "connect_timeout_s", CONNECT_TIMEOUT_S),
        seconds(address, "timeout_s", ANSWER_TIMEOUT_S),
    )
