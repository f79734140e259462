"""mlkit.toml: defaults for the commands that run in its folder. A flag wins, and so does MLKIT_COMMAND_OPTION."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlops_kit.errors import UsageError, listed, suggestion

FILE_NAME = "mlkit.toml"


def read_settings(options: Mapping[str, Iterable[str]], path: Path = Path(FILE_NAME)) -> dict[str, dict[str, Any]]:
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
    for table, settings in document.items():
        _check_name(path, table, list(options), "command")
        if not isinstance(settings, dict):
            raise UsageError(f"{path}: {table!r} is no table", fix=f"write [{table}] and its settings below")
        for name in settings:
            _check_name(
                path, name, [option.replace("_", "-") for option in options[table]], f"setting of [{table}]"
            )
    return {
        table: {name.replace("-", "_"): _as_typed(value) for name, value in settings.items()}
        for table, settings in document.items()
    }


def _check_name(path: Path, name: str, known: list[str], kind: str) -> None:
    if name.replace("_", "-") not in known:
        fix = suggestion([name], known) or "remove it"
        raise UsageError(f"{path}: no {kind} is called {name!r}", f"there are {listed(known, 20)}", fix)


def _as_typed(value: Any) -> Any:
    """As it would be typed on the command line, so that it is checked and converted in the same way."""
    return value if isinstance(value, bool) else str(value)
