"""A table or a query of PostgreSQL, by binary COPY."""

from collections.abc import Callable, Sequence
from pathlib import Path

from adbc_driver_postgresql import dbapi

from mlops_kit.errors import MlkitError, StoreError, UsageError
from mlops_kit.modes.batch.sources.extract.interface import Query
from mlops_kit.modes.batch.sources.extract.spool import read_batches, write_spool
from mlops_kit.tables.address import Address
from mlops_kit.tables.postgres.connection import connection_uri
from mlops_kit.tables.postgres.failures import explained, message_of
from mlops_kit.tables.sql.columns import quoted

SUFFIX = ".parquet"
DATA_EXCEPTION, SYNTAX_OR_NAME = "22", "42"
"""How SQLSTATEs begin."""


def extract(query: Query, target: Path, on_rows: Callable[[int], None]) -> Sequence[str]:
    """One statement, hence one snapshot. NUMERIC comes as text: cast it in the query."""
    address = query.database
    sql = query.sql or f"TABLE {'.'.join(map(quoted, address.table.split('.')))}"
    connection: dbapi.Connection | None = None
    try:
        connection = dbapi.connect(connection_uri(address, address.password or query.password))
        with connection.cursor() as cursor:
            cursor.execute(sql)
            reader = cursor.fetch_record_batch()
            batches = read_batches(reader, lambda: _failed_midway(address))
            return write_spool(reader.schema, batches, target, on_rows)
    except dbapi.Error as error:
        state = error.sqlstate or ""
        if state.startswith(DATA_EXCEPTION):
            why = "a cast or a calculation does not go with it"
            raise UsageError("--sql fails on a value", why, "try it in psql") from error
        if state.startswith(SYNTAX_OR_NAME):
            fix = "check the table's name, or try the query in psql"
            raise UsageError(f"{address}: PostgreSQL refused", message_of(error), fix) from error
        raise explained(error, str(address), was_connected=connection is not None) from error
    finally:
        if connection is not None:
            connection.close()


def _failed_midway(address: Address) -> MlkitError:
    # There is no SQLSTATE here, and the server's message may show a value.
    why = "a cast or a calculation does not go with a value, or the connection was lost"
    return StoreError(f"{address}: the query failed in the middle", why, "try it in psql")
