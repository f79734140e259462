"""Every backend that the contract is tested with: where a test can publish, and where nobody can.

A new backend adds its entry to `BACKENDS`, and if it needs a server, a session fixture to conftest.py.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Backend:
    """`place` gives the address of a table `eta`, written `?table=eta`, that only this test knows, in a place that is
    empty; its arguments are the test's request, through which it gets its server, and the test's own folder.
    At `unreachable` there is no such server or file, and there can be none.
    """

    place: Callable[[pytest.FixtureRequest, Path], AbstractContextManager[str]]
    unreachable: str
    takes_tables_without_key: bool = True


@contextmanager
def folder_place(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    yield f"{folder}/new folder/predictions?table=eta"


BACKENDS = {
    "folder": Backend(folder_place, "/dev/null/predictions"),
}
"""By scheme."""
