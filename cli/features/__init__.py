"""`mlkit features`: one definition, for training, for the store, and to prove that both agree."""

import typer

from .check import check
from .get import get
from .join import join
from .materialize import materialize
from .push import push

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

app = typer.Typer(
    name="features",
    help="Features: joined to rows, kept in a store, kept fresh by events, and proved to be the same everywhere.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    context_settings=CONTEXT,
)

for command in (join, materialize, push, get, check):
    app.command(context_settings=CONTEXT)(command)
