"""From an address to what libpq connects to."""

from urllib.parse import quote, urlencode

from mlops_kit.tables.address import Address

OPTIONS = {
    "connect_timeout": "5",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "tcp_user_timeout": "60000",
    "fallback_application_name": "mlkit",
}
"""For libpq, unless the address has others: a server that is gone is to be noticed."""


def connection_uri(address: Address, password: str) -> str:
    """For libpq; it has the password in it."""
    options = OPTIONS | dict(address.options) | ({"password": password} if password else {})
    user = f"{quote(address.user, safe='')}@" if address.user else ""
    database = quote(address.path, safe="")
    return f"postgresql://{user}{address.hosts}/{database}?{urlencode(options, quote_via=quote, safe='')}"
