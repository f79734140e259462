"""mlkit.toml: defaults for the commands that run in its folder. A flag wins, and so does MLKIT_COMMAND_OPTION."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_kit.errors import UsageError, listed, suggestion

FILE_NAME = "mlkit.toml"


Options = Mapping[str, Mapping[str, bool]]
"""Command → parameter → whether it can be given several times."""


def read_settings(options: Options, path: Path = Path(FILE_NAME)) -> dict[str, dict[str, Any]]:
    """Command → parameter → default, checked against each command's `options`. Empty where there is no file.

    Raises UsageError if the file is damaged or sets what no command has.
    """
    if not path.is_file():
        return {}
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read", str(error), "mend that line") from error
    found: dict[str, dict[str, Any]] = {}
    for table, settings in document.items():
        _check_name(path, table, list(options), "command")
        if not isinstance(settings, dict):
            raise UsageError(f"{path}: {table!r} is no table", fix=f"write [{table}] and its settings below")
        command = table.replace("_", "-")
        defaults = found.setdefault(command, {})
        for name, value in settings.items():
            known = [option.replace("_", "-") for option in options[command]]
            _check_name(path, name, known, f"setting of [{table}]")
            parameter = name.replace("-", "_")
            defaults[parameter] = _as_typed(value, options[command][parameter], f"{path}: {name}")
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
