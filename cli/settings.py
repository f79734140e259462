"""mlkit.toml: defaults for the commands that run in its folder. A flag wins, and so does MLKIT_COMMAND_OPTION."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_kit.errors import UsageError, listed, suggestion

FILE_NAME = "mlkit.toml"


@dataclass(frozen=True, slots=True)
class Settable:
    """What a command takes: parameter → whether it can be given several times; and its further commands."""

    parameters: Mapping[str, bool] = field(default_factory=dict)
    commands: "Mapping[str, Settable]" = field(default_factory=dict)


def read_settings(settable: Settable, path: Path = Path(FILE_NAME)) -> dict[str, Any]:
    """Command → parameter → default, checked against what each command takes; that of a further command is in a
    table of its own, [bench.advise]. Empty where there is no file.

    Raises UsageError if the file is damaged or sets what no command has.
    """
    if not path.is_file():
        return {}
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read", str(error), "mend that line") from error
    for name in document:
        _check_name(path, name, list(settable.commands), "command")
    return _read_table(path, "", document, settable)


def _read_table(path: Path, table: str, settings: Any, settable: Settable) -> dict[str, Any]:
    if not isinstance(settings, dict):
        raise UsageError(f"{path}: {table!r} is no table", fix=f"write [{table}] and its settings below")
    names = {name.replace("_", "-"): name for name in settable.parameters}
    found: dict[str, Any] = {}
    for name, value in settings.items():
        _check_name(path, name, [*names, *settable.commands], f"setting of [{table}]")
        plain = name.replace("_", "-")
        if plain in settable.commands:
            inner = f"{table}.{name}" if table else name
            found[plain] = _read_table(path, inner, value, settable.commands[plain])
        else:
            is_repeated = settable.parameters[names[plain]]
            found[names[plain]] = _as_typed(value, is_repeated, f"{path}: {name}")
    return found


def _check_name(path: Path, name: str, known: list[str], kind: str) -> None:
    if name.replace("_", "-") not in known:
        fix = suggestion([name], known) or "remove it"
        raise UsageError(f"{path}: no {kind} is called {name!r}", f"there are {listed(known, 20)}", fix)


def _as_typed(value: Any, is_repeated: bool, where: str) -> Any:
    """As it would be typed on the command line, so that it is checked and converted in the same way."""
    if is_repeated:
        return [str(one) for one in (value if isinstance(value, list) else [value])]
    if isinstance(value, (list, dict)):
        raise UsageError(f"{where} takes one value", fix="write it without brackets")
    return value if isinstance(value, bool) else str(value)
