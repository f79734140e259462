"""SQL in DuckDB: over files, over a DuckDB file, over whatever it can attach."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import duckdb

from mlops_kit.errors import MissingExtraError, MlkitError, StoreError, UsageError
from mlops_kit.modes.batch.sources.extract.interface import Query
from mlops_kit.modes.batch.sources.extract.spool import BATCH_ROWS, read_batches, write_spool
from mlops_kit.tables.address import Address
from mlops_kit.tables.sql.columns import quoted

SUFFIX = ".parquet"

QUERIES = (duckdb.StatementType.SELECT, duckdb.StatementType.CALL, duckdb.StatementType.MULTI)
"""A PIVOT whose columns have to be found first is several statements to DuckDB."""

LOOK_S = 0.1
"""How often a long sort is asked whether it should stop."""


def extract(query: Query, target: Path, on_rows: Callable[[int], None]) -> Sequence[str]:
    """Carry out the statements, of which the last gives the rows."""
    with _connection(query, target.with_name("spill")) as connection, _interruptible(connection, on_rows):
        try:
            statements = connection.extract_statements(query.sql or _whole_table(query.address))
            if not statements:
                raise UsageError("--sql is empty", fix='write --sql "SELECT …"')
            for statement in statements[:-1]:
                if statement.type == duckdb.StatementType.SELECT:
                    raise UsageError("--sql has several queries", "only one can give the rows", "leave out others")
                _prepare(connection, statement)
            if statements[-1].type not in QUERIES:
                raise UsageError("--sql gives no rows", "its last statement is not a SELECT", "end it with one")
            reader = connection.sql(statements[-1]).to_arrow_reader(BATCH_ROWS)
            batches = read_batches(reader, lambda: _failed_midway(on_rows))
            return write_spool(reader.schema, batches, target, on_rows)
        except (duckdb.InterruptException, RuntimeError):
            # Which of them, depends on whether the watching thread or a signal was first.
            on_rows(0)
            raise
        except duckdb.Error as error:
            raise _explained(error, query) from error


def _prepare(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> None:
    try:
        connection.execute(statement)
    except duckdb.Error as error:
        if statement.type == duckdb.StatementType.ATTACH:
            # DuckDB repeats the connection's options, and a password may be among them.
            fix = "check server, database, user and password"
            raise StoreError("--sql: DuckDB cannot attach a database", type(error).__name__, fix) from None
        raise


def _failed_midway(on_rows: Callable[[int], None]) -> MlkitError:
    on_rows(0)  # raises if it was interrupted
    # DuckDB's own message shows the value.
    why = "a cast or a calculation does not go with a row's value, or a file cannot be read"
    return UsageError("--sql fails in the middle", why, "use TRY_CAST, or try it in DuckDB")


@contextlib.contextmanager
def _connection(query: Query, spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    config: dict[str, str | bool | int | float | list[str]] = {"temp_directory": str(spill)}
    if query.memory_bytes:
        config["memory_limit"] = f"{query.memory_bytes}B"
    path = Path(query.address.path) if query.address else None
    if path and not path.is_file():
        raise UsageError(f"{path}: no such file", fix="check INPUT; four slashes begin an absolute path")
    try:
        connection = duckdb.connect(path or ":memory:", read_only=path is not None, config=config)
    except duckdb.Error as error:
        raise _explained(error, query) from error
    with connection:
        connection.execute("SET TimeZone = 'UTC'")
        if "s3://" in query.sql.lower():
            _reach_s3(connection)
        yield connection


def _reach_s3(connection: duckdb.DuckDBPyConnection) -> None:
    """By way of s3fs, which finds credentials where AWS's own tools do, and needs no extension of DuckDB."""
    try:
        from s3fs import S3FileSystem
    except ModuleNotFoundError as error:
        raise MissingExtraError("s3fs", "s3", "s3://") from error
    connection.register_filesystem(S3FileSystem())


@contextlib.contextmanager
def _interruptible(connection: duckdb.DuckDBPyConnection, on_rows: Callable[[int], None]) -> Iterator[None]:
    """Interrupt a statement when `on_rows` raises, also while no row has come yet."""
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(LOOK_S):
            try:
                on_rows(0)
            except BaseException:  # noqa: BLE001 - it is raised again in the thread that runs the statement
                connection.interrupt()
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _whole_table(address: Address | None) -> str:
    name = address.table if address else ""
    return f"FROM {'.'.join(map(quoted, name.split('.')))}"


def _explained(error: duckdb.Error, query: Query) -> Exception:
    why = str(error).split("\n\n", 1)[0].replace("\n", " ")
    what = "--sql" if query.sql else query.name
    match error:
        case duckdb.OutOfMemoryException():
            return StoreError(f"{what} needs more memory", why, "allow more with --memory, as in --memory 4GB")
        case duckdb.IOException() | duckdb.ConnectionException() | duckdb.HTTPException():
            fix = "check the path, the network and the credentials"
            return StoreError(f"{what}: DuckDB cannot read", why, fix)
        case (
            duckdb.ConversionException()
            | duckdb.InvalidInputException()
            | duckdb.OutOfRangeException()
            | duckdb.ConstraintException()
        ):
            fix = "use TRY_CAST, which gives NULL for what cannot be cast"
            return UsageError(f"{what} fails on a value", "a cast or a calculation does not go with it", fix)
        case _:
            fix = "try it in DuckDB" if query.sql else "check the table's name"
            return UsageError(f"{what} cannot be carried out", why, fix)
