"""From INPUT and --sql to a query, and from a query to what carries it out."""

from importlib import import_module

from mlops_kit.errors import MissingExtraError, UsageError
from mlops_kit.modes.batch.sources.extract.interface import Extractor, Query
from mlops_kit.tables.address import parse_address

STDIN = "-"
PACKAGE = "mlops_kit.modes.batch.sources.extract"
DATABASES = {"duckdb": "", "sqlite": "", "postgresql": "postgres"}
"""Scheme, which is the module's name, too → the extra that it needs."""


def find_query(input_: str, sql: str, password: str, memory_bytes: int) -> Query | None:
    """None where INPUT means files. Raises UsageError for what does not go together."""
    if input_.startswith("s3://"):
        raise UsageError(f"{input_}: not read as it is", fix="leave out INPUT, and name it in the query of --sql")
    if "://" in input_:
        address = parse_address(input_, list(DATABASES), needs_table=not sql)
        if sql and address.table:
            raise UsageError("INPUT names a table, and there is --sql", fix="leave out one of them")
        return Query(address, sql, password, memory_bytes)
    if sql and input_:
        why = "a query says itself where its rows come from"
        raise UsageError(
            f"INPUT is {input_}, and there is --sql", why, "leave out INPUT, and name it in the query"
        )
    if sql or input_ == STDIN:
        return Query(None, sql, password, memory_bytes)
    return None


def extractor_of(query: Query) -> Extractor:
    """The module that reads it. Raises MissingExtraError."""
    if query.address is None:
        return import_module(f"{PACKAGE}.{'duckdb' if query.sql else 'stdin'}")
    scheme = query.address.scheme
    try:
        return import_module(f"{PACKAGE}.{scheme}")
    except ModuleNotFoundError as error:
        if not DATABASES[scheme]:
            raise
        raise MissingExtraError(error.name or scheme, DATABASES[scheme], f"{scheme}://") from error
