"""Errors between processes: their facts travel, and make the same error again."""

import msgspec

from mlops_kit import errors
from mlops_kit.errors import MlkitError


class Facts(msgspec.Struct, frozen=True):
    """What an MlkitError says."""

    kind: str
    what: str
    why: str
    fix: str


def facts_of(error: MlkitError) -> Facts:
    """Its name and its sentences."""
    return Facts(type(error).__name__, error.what, error.why, error.fix)


def error_of(facts: Facts) -> MlkitError:
    """The error as it was; MlkitError itself for a name that is not known here."""
    kind = getattr(errors, facts.kind, MlkitError)
    # Subclasses own their sentence, and would make it anew from facts that did not come along.
    error: MlkitError = kind.__new__(kind)
    MlkitError.__init__(error, facts.what, facts.why, facts.fix)
    return error
