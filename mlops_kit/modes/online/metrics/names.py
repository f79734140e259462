"""Numbers that are told by a name which is not known before: it is in the shared memory, too."""

from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

import numpy as np

from mlops_kit.modes.online.metrics.layout import NAME_PLACES
from mlops_kit.schema import Array

NAME_BYTES: Final = 6
"""In a float64, which has every whole number below 2^53."""

OTHERS: Final = "(others)"
"""Those for which there is no place left."""


class Named(Protocol):
    """A place that begins with a name."""

    @property
    def name(self) -> int:
        """Where it begins."""


Place = TypeVar("Place", bound=Named)


class NamedPlaces(Generic[Place]):
    """Each name has the first place of its process that was free when it came."""

    __slots__ = ("_all", "_slot", "_taken")

    def __init__(self, places: Sequence[Place], slot: "memoryview[float]") -> None:
        self._all = places
        self._slot = slot
        found = ((read_name(np.array(slot[place.name : place.name + NAME_PLACES])), place) for place in places)
        self._taken = {name: place for name, place in found if name}

    def find(self, name: str) -> Place:
        """Where a name's numbers are, from now on."""
        place = self._taken.get(name)
        if place is None:
            free = self._all[len(self._taken) :]
            if not free:
                return self._all[-1]
            place = self._taken[name] = free[0]
            written = name if len(free) > 1 else OTHERS
            for at, number in enumerate(_numbers_of(written), place.name):
                self._slot[at] = number
        return place


def read_name(numbers: Array) -> str:
    """The name that these numbers are; empty if there is none yet."""
    data = b"".join(int(number).to_bytes(NAME_BYTES) for number in numbers)
    return data.rstrip(b"\0").decode(errors="replace")


def _numbers_of(name: str) -> list[float]:
    data = name.encode()[: NAME_BYTES * NAME_PLACES].ljust(NAME_BYTES * NAME_PLACES, b"\0")
    return [float(int.from_bytes(data[at : at + NAME_BYTES])) for at in range(0, len(data), NAME_BYTES)]
