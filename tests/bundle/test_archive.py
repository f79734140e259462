import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import mlops_kit
from mlops_kit.bundle.archive import write_archive
from mlops_kit.bundle.bundle import open_bundle
from mlops_kit.errors import BundleError, UsageError
from tests.bundles import NAMES, write_bundle

ROW = dict.fromkeys(NAMES, 1.0)


def pack(folder: Path, target: Path) -> Path:
    write_archive(folder, open_bundle(folder).manifest, target)
    return target


def test_an_archive_answers_as_its_bundle(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    packed = mlops_kit.load(pack(folder, tmp_path / "tiny.mlkit"))
    assert packed.predict(ROW) == mlops_kit.load(folder).predict(ROW)
    assert packed.bundle is not None
    assert packed.bundle.digest == open_bundle(folder).digest


def test_packing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    first, second = pack(folder, tmp_path / "a.mlkit"), pack(folder, tmp_path / "b.mlkit")
    assert first.read_bytes() == second.read_bytes()


def test_the_unpacked_files_vanish_with_the_predictor(tmp_path: Path) -> None:
    predictor = mlops_kit.load(pack(write_bundle(tmp_path / "tiny"), tmp_path / "tiny.mlkit"))
    assert predictor.bundle is not None
    directory = predictor.bundle.directory
    assert directory.is_dir()
    del predictor
    assert not directory.exists()


def test_an_archive_is_never_overwritten(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    (tmp_path / "tiny.mlkit").write_text("precious")
    with pytest.raises(UsageError, match="exists"):
        pack(folder, tmp_path / "tiny.mlkit")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny", "tiny.mlkit"]


def _traverse(archive: zipfile.ZipFile) -> None:
    archive.writestr("../../outside", "x")


def _absolute(archive: zipfile.ZipFile) -> None:
    archive.writestr("/tmp/outside", "x")


def _link(archive: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(member, "/etc/passwd")


def _bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("bomb", b"\0" * 10**7, zipfile.ZIP_DEFLATED)


def _twice(archive: zipfile.ZipFile) -> None:
    archive.writestr("manifest.json", "{}")


HOSTILE = {
    "path traversal": (_traverse, "outside of the bundle"),
    "absolute path": (_absolute, "outside of the bundle"),
    "symbolic link": (_link, "not a regular file"),
    "decompression bomb": (_bomb, "compressed"),
    "member twice": (_twice, "twice"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("add", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_refused(tmp_path: Path, add: Callable[[zipfile.ZipFile], None], reason: str) -> None:
    path = pack(write_bundle(tmp_path / "tiny"), tmp_path / "tiny.mlkit")
    with zipfile.ZipFile(path, "a") as archive:
        add(archive)
    with pytest.raises(BundleError, match=reason):
        mlops_kit.load(path)
    assert not (tmp_path / "outside").exists()


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = pack(write_bundle(tmp_path / "tiny"), tmp_path / "tiny.mlkit")
    data = path.read_bytes()
    # Claim in the central directory that a member is far larger than the archive.
    start = data.index(b"PK\x01\x02")
    path.write_bytes(data[: start + 20] + (2**30).to_bytes(4, "little") * 2 + data[start + 28 :])
    with pytest.raises(BundleError, match="more than the archive"):
        mlops_kit.load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing", b"not a zip at all"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mlkit"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="not a readable archive"):
        mlops_kit.load(path)
