from pathlib import Path

import pytest

from mlops_kit.errors import StoreError, UsageError
from tests.tables.contract import generations, open_at, publish


def test_a_database_instead_of_a_folder_is_told_how_to_write(tmp_path: Path) -> None:
    (tmp_path / "out.db").touch()
    with pytest.raises(StoreError, match=r"is no folder.*write sqlite:///.*/out\.db\?table=NAME"):
        open_at(f"{tmp_path}/out.db").get(["1"])


def test_the_link_instead_of_the_folder_is_told_of(tmp_path: Path) -> None:
    publish(open_at(f"{tmp_path}/out"), generations(tmp_path, 1)[0])
    with pytest.raises(UsageError, match=r"nothing was ever published there.*give .*/out$"):
        open_at(f"{tmp_path}/out/current").get(["1"])
