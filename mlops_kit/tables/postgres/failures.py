"""What PostgreSQL and its driver report, in words that help."""

from adbc_driver_postgresql import dbapi

from mlops_kit.errors import InputError, MlkitError, StoreError, UsageError

NOT_IN_TIME, DEPENDENTS = "55P03", "2BP01"
"""SQLSTATE of a lock that was not to be had, and of something that cannot be dropped because others need it."""

FIXES = {
    "08": "check that the server runs and can be reached, then run again",
    "42501": "let an administrator grant this role CREATE and USAGE on the schema, and the ownership of the view",
    "53": "make room on the server, or let others finish, then run again",
    "57": "run again when the server accepts work",
}
"""By the beginning of the SQLSTATE."""

NOT_CONNECTED = (
    "check that the server runs and has this database, user and password; if the address has no password, "
    "libpq looks for one in PGPASSWORD and ~/.pgpass"
)
CONNECTION_LOST = "check that the server still runs, then run again"
"""What fails before there is a connection has no SQLSTATE, and what ends one not always."""

REQUESTS = {
    "3F": "create the schema, or name another one",
    "42701": "rename the column",
    "54": "keep fewer columns",
}
"""The same, where asking for something else helps, and trying again does not."""


def explained(error: dbapi.Error, place: str, *, was_connected: bool) -> MlkitError:
    """The error to raise instead. It has no text of the server that could contain the values of a row."""
    state = error.sqlstate or ""
    if state.startswith("22"):
        what = f"{place}: PostgreSQL cannot store a value"
        return InputError(
            what, "a text with a NUL character, or a time or number out of its range", "leave it out"
        )
    if state.startswith("23"):
        return InputError(
            f"{place}: two rows have the same key, or one has none", fix="choose other columns with --key"
        )
    if fix := _fix(REQUESTS, state):
        return UsageError(f"{place}: PostgreSQL refused", message_of(error), fix)
    no_state = CONNECTION_LOST if was_connected else NOT_CONNECTED
    fix = _fix(FIXES, state) or ("run again" if state else no_state)
    return StoreError(f"{place}: PostgreSQL failed", message_of(error), fix)


def _fix(fixes: dict[str, str], state: str) -> str:
    return next((fix for beginning, fix in fixes.items() if state.startswith(beginning)), "")


def message_of(error: dbapi.Error) -> str:
    """What the server said, in one line."""
    details = dict(error.details or ())
    primary = details.get("PG_DIAG_MESSAGE_PRIMARY", details.get(b"PG_DIAG_MESSAGE_PRIMARY"))
    if primary:
        return primary.decode() if isinstance(primary, bytes) else str(primary)
    first_line = str(error).partition("\n")[0]
    return first_line.rpartition("[libpq] ")[2].removesuffix(".")
