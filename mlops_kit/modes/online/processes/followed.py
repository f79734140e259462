"""What a server follows under a name."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_kit.bundle.locate import Located
from mlops_kit.modes.online.processes.references import Reference, make_reference
from mlops_kit.modes.online.processes.settling import Settling


@dataclass(slots=True)
class Followed:
    """A reference, and what the workers have of it: `files`, with the `digest` that the first of them tells.

    `refusal` says why they do not have the newest; `misses` is at how many looks in a row there was none.
    """

    reference: Reference
    files: Located
    settling: Settling
    digest: str = ""
    refusal: str = ""
    misses: int = 0

    @property
    def path(self) -> str:
        """For workers."""
        return str(self.files.directory)


Following = Mapping[str, Followed]
"""By the names of the models."""


def follow(text: str) -> Followed:
    """Find a BUNDLE argument and fetch it. Raises UsageError, and BundleError for a damaged archive."""
    reference = make_reference(text)
    # Looked at before it is fetched: a change in between is seen as one.
    seen = reference.identify()
    return Followed(reference, reference.fetch(), Settling(seen))
