from pathlib import Path

import pytest

from mlops_kit.errors import MlkitError, UsageError
from mlops_kit.scaffold import create_project, list_templates

ETA_FILES = [
    ".gitignore",
    "Makefile",
    "README.md",
    "data/2013-12.parquet",
    "data/README.md",
    "data/airports.parquet",
    "data/departures.parquet",
    "data/flights.parquet",
    "data/weather.parquet",
    "features.py",
    "flight.json",
    "live.py",
    "mlkit.toml",
    "requirements.txt",
    "train.py",
]


def names_below(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


@pytest.mark.parametrize("template", list_templates())
def test_every_template_is_copied_byte_for_byte(template: str, tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "templates" / template
    created = create_project(template, tmp_path / "project")
    originals = {
        path.name.replace("gitignore", ".gitignore"): path.read_bytes()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "README.md"
    }
    assert {path.name: path.read_bytes() for path in created if path.name != "README.md"} == originals


@pytest.mark.parametrize("place", ["project", "missing/parents/project"])
def test_a_project_lands_where_it_is_asked_for_with_nothing_beside_it(place: str, tmp_path: Path) -> None:
    directory = tmp_path / place
    assert [path.relative_to(directory).as_posix() for path in create_project("eta", directory)] == ETA_FILES
    assert names_below(directory) == sorted([*ETA_FILES, "data"])
    assert list(directory.parent.iterdir()) == [directory]


def test_an_empty_working_directory_is_filled_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inode = tmp_path.stat().st_ino
    create_project("eta", Path())
    assert names_below(Path.cwd()) == sorted([*ETA_FILES, "data"])
    assert tmp_path.stat().st_ino == inode


@pytest.mark.parametrize(
    ("template", "occupied", "message"),
    [
        ("eta", "project/notes.txt", "project is not empty"),
        ("eta", "project", "project is not a directory"),
        ("etta", "unrelated", "did you mean 'eta' for 'etta'?"),
        ("../eta", "unrelated", "the templates are 'eta'"),
        ("", "unrelated", "the templates are 'eta'"),
    ],
)
def test_a_refused_project_changes_nothing_on_disk(
    template: str, occupied: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / occupied).parent.mkdir(exist_ok=True)
    (tmp_path / occupied).write_text("mine")
    before = names_below(tmp_path)
    with pytest.raises(UsageError) as refusal:
        create_project(template, tmp_path / "project")
    assert message in str(refusal.value)
    assert names_below(tmp_path) == before


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize(
    ("failure", "raised"),
    [(OSError(28, "No space left"), MlkitError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_copy_that_breaks_off_leaves_nothing_behind(
    failure: BaseException,
    raised: type[BaseException],
    existing: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_bytes = Path.write_bytes

    def write_and_fail(path: Path, content: bytes) -> int:
        write_bytes(path, content[:10])
        raise failure

    monkeypatch.setattr(Path, "write_bytes", write_and_fail)
    if existing:
        (tmp_path / "project").mkdir()
    before = names_below(tmp_path)
    with pytest.raises(raised):
        create_project("eta", tmp_path / "project")
    assert names_below(tmp_path) == before
