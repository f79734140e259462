import pytest

from mlops_kit.errors import UsageError
from mlops_kit.tables.address import Address
from mlops_kit.tables.resolve import open_table, resolve_address
from tests.without_package import error_without

ADDRESSES = {
    "predictions": Address("folder", "predictions"),
    "/srv/pre dictions?": Address("folder", "/srv/pre dictions?"),
    "sqlite:///predictions.db?table=eta": Address("sqlite", "predictions.db", "eta"),
    "sqlite:////srv/a%20b.db?table=eta%2Fv2": Address("sqlite", "/srv/a b.db", "eta/v2"),
    "postgresql://db/flights?table=scores.eta": Address("postgresql", "flights", "scores.eta", "db"),
    "postgresql://me@a:1,b:2/flights?table=eta&sslmode=require": Address(
        "postgresql", "flights", "eta", "a:1,b:2", "me", options=(("sslmode", "require"),)
    ),
    "postgresql://m%40e:p%40s%3A%2F@db/flights?table=eta": Address(
        "postgresql", "flights", "eta", "db", "m@e", "p@s:/"
    ),
    "redis://:secret@[::1]:6379/2?table=eta": Address("redis", "2", "eta", "[::1]:6379", "", "secret"),
}

WRONG = {
    "sqlite:///predictions.db": "which table",
    "sqlite:///predictions.db?table=": "which table",
    "postgres://db/flights?table=eta": "did you mean 'postgresql' for 'postgres'",
    "mysql://db/flights?table=eta": "write a folder, or one of .*'sqlite://'",
    "postgresql://[::1/flights?table=eta": "no URL",
}

WRONG_FILES = {
    "sqlite://predictions.db?table=eta": "which file.*sqlite:///FILE",
    "duckdb:///?table=eta": "which file",
    "sqlite:///predictions.db?table=eta&mode=ro": "no options 'mode'",
    "duckdb:///predictions.duckdb?table=mlkit_generations": "takes no table name",
    "sqlite:///predictions.db?table=sqlite_eta": "takes no table name",
}


@pytest.mark.parametrize(("text", "address"), ADDRESSES.items(), ids=ADDRESSES)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert resolve_address(text) == address


@pytest.mark.parametrize(("text", "reason"), WRONG.items(), ids=WRONG)
def test_a_wrong_address_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        resolve_address(text)


@pytest.mark.parametrize(("text", "reason"), WRONG_FILES.items(), ids=WRONG_FILES)
def test_an_address_that_is_no_file_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        open_table(resolve_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "redis://me:secret@db/0?table=eta",
        "postgresql://db/flights?table=eta&password=secret",
        "postgresql://db/flights?table=eta&sslpassword=secret",
    ],
)
def test_an_address_is_shown_without_its_password(text: str) -> None:
    address = resolve_address(text)
    assert "secret" not in str(address)
    assert str(resolve_address(str(address))) == str(address)


def test_a_missing_driver_is_named_with_its_extra() -> None:
    program = (
        "from mlops_kit.tables.resolve import open_table, resolve_address\n"
        "open_table(resolve_address('postgresql://db/flights?table=eta'))"
    )
    said = error_without(["adbc_driver_postgresql"], program)
    assert "MissingExtraError" in said
    assert "mlops-kit[postgres]" in said
