"""Which modes there are, which of them are wanted, and which can be measured here."""

import pkgutil
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from mlops_kit.bench import modes
from mlops_kit.bench.interface import SCENARIOS, Subject
from mlops_kit.bench.job import Notify
from mlops_kit.errors import UsageError, suggestion


def choose_modes(wanted: Sequence[str], subject: Subject, notify: Notify) -> dict[str, ModuleType]:
    """By name. What nobody asked for by its name is left out where it cannot be measured, and `notify` says why.

    Raises UsageError for an unknown name, and for what is asked for and cannot be measured.
    """
    known = {module.name.replace("_", "-"): module.name for module in pkgutil.iter_modules(modes.__path__)}
    groups = {name.partition("-")[0] for name in known}
    check_names(wanted, [*known, *sorted(groups - set(known))], "mode")
    chosen = {}
    for name in known:
        if wanted and not any(name == one or name.startswith(f"{one}-") for one in wanted):
            continue
        module = import_module(f"{modes.__name__}.{known[name]}")
        if why := module.why_not(subject):
            if name in wanted:
                raise UsageError(f"{name} cannot be measured", f"it {why}")
            notify(f"without {name}: it {why}")
        else:
            chosen[name] = module
    if not chosen:
        raise UsageError("there is no mode left to measure", fix="choose others with --mode")
    return chosen


def check_scenarios(wanted: Sequence[str]) -> None:
    """Raise UsageError for an unknown name."""
    check_names(wanted, SCENARIOS, "scenario")


def check_names(wanted: Sequence[str], known: Sequence[str], kind: str) -> None:
    """Raise UsageError for one that is not known."""
    if unknown := [name for name in wanted if name not in known]:
        why = f"there are {', '.join(known)}"
        raise UsageError(f"{unknown[0]!r} is no {kind}", why, suggestion(unknown, known))
