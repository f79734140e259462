"""Where a table is, as people write it: a folder, or a URL such as sqlite:///predictions.db?table=eta."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from mlops_kit.errors import UsageError, listed, suggestion

FOLDER = "folder"
STDOUT = "-"


DATABASES = {".duckdb": "duckdb", ".sqlite": "sqlite", ".sqlite3": "sqlite", ".db": "sqlite"}
"""Suffix of a database's file → its scheme."""


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of an address. `path` has no leading slash: a file (three slashes are relative, four absolute), a
    database, or a keyspace. `table` is empty for a folder of Parquet files.
    """

    scheme: str
    path: str
    table: str = ""
    hosts: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """As people would write it, without passwords."""
        if self.scheme in (FOLDER, STDOUT):
            return self.path or STDOUT
        user = f"{self.user}@" if self.user else ""
        options = [option for option in self.options if "password" not in option[0].lower()]
        table = [("table", self.table)] if self.table else []
        query = "&".join(f"{name}={value}" for name, value in (*table, *options))
        return f"{self.scheme}://{user}{self.hosts}/{self.path}{'?' if query else ''}{query}"

    def host_and_port(self, default_port: int) -> tuple[str, int]:
        """The one host. Raises UsageError if the port is no number."""
        try:
            parts = urlsplit(f"//{self.hosts}")
            port = parts.port or default_port
        except ValueError as error:
            raise UsageError(f"{self}: that is no host and port", fix=f"write host:{default_port}") from error
        return parts.hostname or "127.0.0.1", port


def advised_address(file: Path) -> str:
    """What to write instead of the name of a database's file; empty if it is none.

    >>> advised_address(Path("out.db"))
    'write sqlite:///out.db?table=NAME'
    """
    scheme = DATABASES.get(file.suffix.lower())
    return f"write {scheme}:///{file}?table=NAME" if scheme else ""


def parse_address(text: str, schemes: Sequence[str], *, needs_table: bool = True) -> Address:
    """Read an address. Raises UsageError for an unknown scheme or, if it needs one, a URL without ?table=."""
    if text == STDOUT:
        return Address(STDOUT, "")
    if "://" not in text:
        return Address(FOLDER, text)
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise UsageError("the address is no URL", str(error), "check its host") from error
    if parts.scheme not in schemes:
        known = [f"{scheme}://" for scheme in schemes]
        fix = suggestion([parts.scheme], schemes) or f"write a folder, or one of {listed(known)}"
        raise UsageError(f"{parts.scheme}://: unknown kind of address", fix=fix)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    address = Address(
        scheme=parts.scheme,
        path=unquote(parts.path.removeprefix("/")),
        table=query.pop("table", ""),
        hosts=hosts,
        user=unquote(user),
        password=unquote(password),
        options=tuple(query.items()),
    )
    if needs_table and not address.table:
        raise UsageError(f"{address}: which table?", fix="add ?table=NAME to it")
    return address
