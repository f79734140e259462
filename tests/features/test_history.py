"""Which rows of a history are read, and their numbers."""

from pathlib import Path

import polars as pl
import pytest

from mlops_kit.errors import InputError
from mlops_kit.features.history import open_history, read_span


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of ten and five rows, in row groups of three; t counts through both."""
    frame = pl.DataFrame({"t": range(15), "x": range(100, 115)})
    frame[10:].write_parquet(tmp_path / "b.parquet", row_group_size=3)
    frame[:10].write_parquet(tmp_path / "a.parquet", row_group_size=3)
    (tmp_path / "_SUCCESS.parquet").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("most_rows", [1, 3, 7, 100])
@pytest.mark.parametrize(("least", "end"), [(0, 15), (4, 5), (6, 11), (14, 15)])
def test_rows_keep_their_numbers_where_others_are_skipped(
    folder: Path, most_rows: int, least: int, end: int
) -> None:
    history = open_history("clicks", str(folder))
    read = [
        (first + place, t)
        for span in history.spans(most_rows, "t", least, end)
        for first, frame in read_span(span, ["t"], most_rows)
        for place, t in enumerate(frame["t"])
    ]
    assert {(t, t) for t in range(least, end)} <= set(read)
    assert all(number == t for number, t in read)
    assert len(read) <= end - least + 4


def test_files_without_statistics_are_read_as_a_whole(folder: Path) -> None:
    pl.DataFrame({"t": range(9)}).write_parquet(folder / "a.parquet", statistics=False)
    history = open_history("clicks", str(folder / "a.parquet"))
    assert sum(span.rows for span in history.spans(100, "t", 3, 4)) == 9


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"s": ["abcdefgh"]}).write_parquet(path, compression="uncompressed", statistics=False)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abc\xff\xfffgh"))
    (span,) = open_history("clicks", str(path)).spans(10)
    with pytest.raises(InputError, match="'s' has text that is not UTF-8"):
        list(read_span(span, ["s"], 10))
