"""Start a project from one of the templates that ship with mlkit."""

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from mlops_kit.errors import MlkitError, UsageError, listed, suggestion

_TEMPLATES = "mlops_kit_templates"
_MARKER = "mlkit.toml"  # tells project templates from the other data that is installed beside them
_RENAMED = {"gitignore": ".gitignore"}  # under its real name, it would apply to mlkit's own repository
_LEFT_OUT = {"__pycache__"}


def list_templates() -> list[str]:
    """Names the templates that `create_project` takes.

    >>> list_templates()
    ['eta']
    """
    return sorted(marker.parent.name for marker in _templates_folder().glob(f"*/{_MARKER}"))


def create_project(template: str, directory: Path) -> list[Path]:
    """Copies `template` to `directory`: whole, or not at all; returns the new files, sorted.

    Missing parents are made. An existing directory must be empty; it is filled and not replaced, because
    it may be the caller's working directory or a mount point. Raises UsageError before anything is
    written, and MlkitError where the file system refuses.
    """
    source = _find_template(template)
    _refuse_occupied(directory)
    try:
        return _copy_whole(source, directory)
    except OSError as error:
        raise MlkitError(
            f"cannot create {directory}",
            error.strerror or str(error),
            "choose another directory: mlkit init TEMPLATE DIRECTORY",
        ) from error


def _templates_folder() -> Path:
    """Finds the installed templates.

    Not with importlib.resources: an editable install puts a placeholder among the locations, and before
    Python 3.13 `files()` fails on it.
    """
    spec = find_spec(_TEMPLATES)
    locations = (spec.submodule_search_locations if spec else None) or []
    folder = next((path for path in map(Path, locations) if path.is_dir()), None)
    if folder is None:
        raise MlkitError(
            "the project templates are missing",
            f"{_TEMPLATES} is not installed beside mlops_kit",
            "pip install --force-reinstall mlops-kit",
        )
    return folder


def _find_template(template: str) -> Path:
    known = list_templates()
    if template not in known:
        raise UsageError(
            f"no template is called {template!r}",
            f"the templates are {listed(known)}",
            suggestion([template], known) or f"mlkit init {known[0]}",
        )
    return _templates_folder() / template


def _refuse_occupied(directory: Path) -> None:
    if directory.is_dir():
        if any(directory.iterdir()):
            raise UsageError(
                f"{directory} is not empty",
                "a new project must not overwrite your files",
                "name a new directory: mlkit init TEMPLATE DIRECTORY",
            )
    elif directory.exists() or directory.is_symlink():
        raise UsageError(
            f"{directory} is not a directory",
            "a project is a directory of its own",
            "name a new directory: mlkit init TEMPLATE DIRECTORY",
        )


def _copy_whole(source: Path, directory: Path) -> list[Path]:
    """Copies beside the destination, then renames: an interrupted copy leaves nothing behind."""
    is_new = not directory.exists()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".mlkit-init-", dir=directory.parent if is_new else directory) as staging:
        project = Path(staging) / "project"
        created = sorted(directory / path.relative_to(project) for path in _copy_tree(source, project))
        if is_new:
            project.rename(directory)
        else:
            for entry in project.iterdir():
                entry.rename(directory / entry.name)
    return created


def _copy_tree(source: Path, destination: Path) -> list[Path]:
    destination.mkdir()
    copied: list[Path] = []
    for entry in source.iterdir():
        if entry.name in _LEFT_OUT:
            continue
        target = destination / _RENAMED.get(entry.name, entry.name)
        if entry.is_dir():
            copied += _copy_tree(entry, target)
        else:
            target.write_bytes(entry.read_bytes())
            copied.append(target)
    return copied
