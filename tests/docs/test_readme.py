from pathlib import Path

from mlops_kit_cli.bench import further
from mlops_kit_cli.main import app

from tests.docs.reference import COMMANDS, replace_reference

README = Path(__file__).parents[2] / "README.md"


def test_the_command_reference_is_what_help_says() -> None:
    text = README.read_text()
    assert replace_reference(text) == text, "run `make docs`"


def test_the_reference_has_every_command() -> None:
    groups = {f"{group.name} ": group.typer_instance for group in app.registered_groups}
    names = {
        prefix + command.callback.__name__.replace("_", "-")
        for prefix, typer in {"": app, **groups}.items()
        for command in (typer.registered_commands if typer else ())
        if command.callback
    }
    benched = {f"bench {command.callback.__name__}" for command in further.registered_commands if command.callback}
    assert names | benched == set(COMMANDS)
