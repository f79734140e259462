"""Whether clients of one model can go on with another as if nothing had happened."""

from collections.abc import Collection, Sequence

import numpy as np

from mlops_kit.errors import listed
from mlops_kit.schema import Column, Output, Signature

Part = Column | Output


def explain_change(
    old: Signature, new: Signature, old_optional: Collection[str] = (), new_optional: Collection[str] = ()
) -> str:
    """What requests to the old model, or readers of its answers, would stumble over; empty if nothing.

    A model may take more than the one before: a missing value, a wider number, or other optional columns. Those
    that requests must have keep their order: a request may be one matrix of them.
    """
    before = [column for column in old.columns if column.name not in old_optional]
    after = [column for column in new.columns if column.name not in new_optional]
    # What may be left out has no order, and what is new of it concerns nobody.
    left_out, still = (
        sorted((column for column in one.columns if column.name in old_optional), key=lambda column: column.name)
        for one in (old, new)
    )
    return (
        _explain("columns", before, after)
        or _explain("columns", left_out, still)
        or _explain("outputs", old.outputs, new.outputs)
    )


def _explain(kind: str, old: Sequence[Part], new: Sequence[Part]) -> str:
    before, after = [part.name for part in old], [part.name for part in new]
    changes = {
        "no longer has the": [name for name in before if name not in after],
        "has the new": [name for name in after if name not in before],
        "has others for": [one.name for one, other in zip(old, new, strict=False) if not _is_taken(one, other)],
    }
    if said := [f"it {change} {kind} {listed(names)}" for change, names in changes.items() if names][:2]:
        return ", ".join(said)
    return "" if before == after else f"it has its {kind} in another order"


def _is_taken(old: Part, new: Part) -> bool:
    """Where the names are other ones, that is told of elsewhere."""
    if old.name != new.name:
        return True
    if not isinstance(old, Column) or not isinstance(new, Column):
        return (old.dtype, old.shape) == (new.dtype, new.shape)
    is_wide = old.dtype == new.dtype or (
        "string" not in (old.dtype, new.dtype) and np.can_cast(old.dtype, new.dtype, "safe")
    )
    return is_wide and old.shape == new.shape and (new.nullable or not old.nullable)
