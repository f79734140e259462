"""`mlkit lookup`: one stored prediction."""

import typer

from . import console
from .options import environment_password, option, refuse_passwords

NOT_FOUND = 1


def lookup(
    context: typer.Context,
    output: str = typer.Argument(metavar="OUTPUT", help="Where batch-predict published: a folder or a URL."),
    key: list[str] = option(help="The key; once for each key column, in their order."),
) -> None:
    """Print one stored prediction, with the digest of its model and the time it was made, as JSON.

    Exits with 1 if there is no row with this key.

    \b
    Example:
      mlkit lookup predictions --key 17
    """
    refuse_passwords(context, "output")
    from contextlib import closing

    from mlops_kit.tables.resolve import lookup as open_output

    with closing(open_output(output, environment_password())) as table:
        found = table.get(key)
    if found is None:
        console.print_error(f"{output}: no row has this key", fix="was it in the input of the last run?")
        raise typer.Exit(NOT_FOUND)
    console.print_json({"values": dict(found.values), "digest": found.digest, "predicted_at": found.predicted_at})
