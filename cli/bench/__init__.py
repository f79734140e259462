"""`mlkit bench`: measure a bundle, and what follows from it.

`bench` is a command whose argument is a bundle, and it has further commands. If the first word is the name of one,
it is that command; a bundle in a folder of that name is told from it as ./advise.
"""

from typing import Any

import typer
from typer.core import TyperCommand

from .advise import advise
from .compare import compare

further = typer.Typer(name="bench", rich_markup_mode=None, add_completion=False)
for command in (advise, compare):
    further.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})(command)


class BenchCommand(TyperCommand):
    """Hands over to a further command if its name is the first word."""

    @property
    def commands(self) -> dict[str, Any]:
        """The further commands, by name."""
        return {**typer.main.get_group(further).commands}

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """As of either."""
        if args and args[0] in self.commands:
            return typer.main.get_group(further).make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The further commands, at the end of the help."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(limit=80)) for name, each in self.commands.items()])
