"""What to warn of before a server can be reached by others."""

import ipaddress

from mlops_kit.modes.online.keys import Keys
from mlops_kit.modes.online.tls import Tls


def exposures(address: str, keys: Keys, tls: Tls | None) -> list[str]:
    """A sentence for each danger of listening on an address; none where only this machine can reach it."""
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return []
    dangers = []
    if not keys.are_needed:
        dangers.append(
            f"whoever reaches {address} may ask for predictions: --api-key-file lets in only who has a key"
        )
    if tls is None:
        what = "keys, rows and predictions" if keys.keys or keys.admin_keys else "rows and predictions"
        dangers.append(
            f"{what} travel to {address} unencrypted: use --tls-cert and --tls-key, or a proxy that has TLS"
        )
    return dangers
