"""mlkit.toml: defaults for the commands that run in its folder. A flag wins, and so does MLKIT_COMMAND_OPTION."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from mlops_kit.errors import UsageError, listed, suggestion

FILE_NAME = "mlkit.toml"


Options: TypeAlias = Mapping[str, "bool | Options"]
"""Command → its parameters and whether they can be given several times, and its own commands."""


def read_settings(options: Options, path: Path = Path(FILE_NAME)) -> dict[str, Any]:
    """Command → parameter → default, or command → command → …, checked against `options`. Empty where there is no
    file.

    Raises UsageError if the file is damaged or sets what no command has.
    """
    if not path.is_file():
        return {}
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read", str(error), "mend that line") from error
    return _read_table(path, "", document, options)


def _read_table(path: Path, title: str, table: Mapping[str, Any], options: Options) -> dict[str, Any]:
    found: dict[str, Any] = {}
    known = {option.replace("_", "-"): option for option in options}
    for name, value in table.items():
        _check_name(path, name, [*known], f"setting of [{title}]" if title else "command")
        option = known[name.replace("_", "-")]
        below = options[option]
        if isinstance(below, bool):
            found[option] = _as_typed(value, below, f"{path}: {name}")
            continue
        inner = f"{title}.{name}" if title else name
        if not isinstance(value, dict):
            raise UsageError(f"{path}: {name!r} is no table", fix=f"write [{inner}] and its settings below")
        found.setdefault(option, {}).update(_read_table(path, inner, value, below))
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
