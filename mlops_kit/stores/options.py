"""What may stand behind the question mark of a store's address."""

import math
from collections.abc import Sequence

from mlops_kit.errors import UsageError, listed, suggestion
from mlops_kit.tables.address import Address


def refuse_unknown(address: Address, known: Sequence[str]) -> None:
    """Raises UsageError for an option that nobody would heed."""
    if unknown := [name for name, _ in address.options if name not in known]:
        fix = suggestion(unknown, known) or f"the options are {listed(known)}"
        raise UsageError(f"{address}: unknown option {unknown[0]!r}", fix=fix)


def seconds(address: Address, name: str, default: float) -> float:
    """An option that is a time. Raises UsageError if it is none."""
    text = dict(address.options).get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (0 < value < math.inf):
        raise UsageError(f"{address}: {name} is no number of seconds", fix=f"write {name}={default:g}")
    return value
