"""`mlkit init`: a working project to start from."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer


def init(
    template: Annotated[str, typer.Argument(help="The template to start from.")] = "eta",
    directory: Annotated[
        Path | None,
        typer.Argument(help="The folder to make.  [default: ./TEMPLATE]", show_default=False),
    ] = None,
) -> None:
    """Make a working project: data, training script, Makefile. Needs no network.

    Templates: eta (how late does a flight arrive? scikit-learn, real flights).

    \b
    Example:
      mlkit init eta my-project
    """
    from mlops_kit.scaffold import create_project

    project = Path(template) if directory is None else directory
    created = create_project(template, project)
    typer.echo(f"{project}/")
    for path in created:
        typer.echo(f"  {path.relative_to(project).as_posix()}")
    typer.echo("\nNext:")
    if project.resolve() != Path.cwd():
        typer.echo(f"  cd {quote(str(project))}")
    typer.echo("  make train export     # fit the model, turn it into a bundle")
    typer.echo("  make verify batch     # prove the bundle right, predict a month of flights")
    typer.echo("  make live check       # serve an evening while events arrive, compare with history")
    typer.echo("  make                  # list everything else")
